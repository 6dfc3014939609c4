import { type RawBuilder, sql } from 'kysely'
import type { TProperties } from 'typebox'
import {
  type BackupRecord,
  type IgnoredRecord,
  type JournalRecord,
  LINES,
  type OriginalFacts,
  titleOf,
} from '../../format/journal-record.ts'
import type { Database } from '../connection.ts'

/** Records sent in one statement: some 600 KB of JSON, several times that while PostgreSQL reads it. */
const BATCH = 1000

/** Nobody knows who has written a journal: it proves nothing. */
const { verified_at: _, ...ORIGINAL } = LINES.original.properties
/** The tables, as the journal's lines are: what has no title there is no column. */
const TABLES: Readonly<Record<string, TProperties>> = {
  said_originals: ORIGINAL,
  said_backups: { ...LINES.backup.properties, path: ORIGINAL.path },
  said_ignored: LINES.ignored.properties,
}
/** By title; all else is text. */
const TYPES: Readonly<Record<string, RawBuilder<unknown>>> = {
  path: sql`text collate "C"`,
  id: sql`bigint`,
  bytes: sql`bigint`,
  minutes: sql`smallint`,
  milliseconds: sql`float8`,
  time: sql`timestamptz`,
}

/**
 * Makes the temporary tables `said_originals`, `said_backups` and `said_ignored`, which end with the transaction. Each
 * has what was said about a thing, once for each time that it was said, and `seq` tells the order; `removed` is the
 * word that takes it away.
 */
export async function createSaid(transaction: Database): Promise<void> {
  for (const [table, members] of Object.entries(TABLES)) {
    const columns = Object.entries(members).flatMap(([name, schema]) => {
      const title = titleOf(schema)
      return title === undefined ? [] : [sql`${sql.id(name)} ${TYPES[title] ?? sql`text`}`]
    })
    await sql`
      create temporary table ${sql.id(table)} (seq bigint, removed boolean, ${sql.join(columns)})
      on commit drop`.execute(transaction)
  }
}

/** Fills the tables with all of `records`, in their order, holding a bounded part of them at a time. */
export async function loadSaid(transaction: Database, records: AsyncIterable<JournalRecord>): Promise<void> {
  let batch = new Batch()
  let seq = 0
  // While PostgreSQL takes a batch the next one is read.
  let taken = Promise.resolve()
  for await (const record of records) {
    seq++
    batch.add(seq, record)
    if (batch.length < BATCH) continue
    await taken
    taken = batch.insert(transaction)
    // Whether it failed is asked later.
    taken.catch(() => {})
    batch = new Batch()
  }
  await taken
  await batch.insert(transaction)
  await sql`analyze said_originals, said_backups, said_ignored`.execute(transaction)
}

interface Said {
  seq: number
  removed: boolean
}

/** Rows under the names of the tables' columns; a column that is not there is null. */
class Batch {
  readonly #originals: (Said & Partial<OriginalFacts>)[] = []
  readonly #backups: (Said & Partial<Omit<BackupRecord, 'original'>> & { path?: string | undefined })[] = []
  readonly #ignored: (Said & Partial<IgnoredRecord>)[] = []

  get length(): number {
    return this.#originals.length + this.#backups.length + this.#ignored.length
  }

  add(seq: number, record: JournalRecord): void {
    switch (record.type) {
      case 'original':
        this.#originals.push({ seq, removed: false, ...record })
        return
      case 'ignored':
        this.#ignored.push({ seq, removed: false, ...record })
        return
      case 'backup': {
        const { original, ...backup } = record
        if (original !== null) this.#originals.push({ seq, removed: false, ...original })
        this.#backups.push({ seq, removed: false, ...backup, path: original?.path })
        return
      }
      case 'removed':
        if (record.what === 'original') this.#originals.push({ seq, removed: true, path: record.path })
        else if (record.what === 'backup') this.#backups.push({ seq, removed: true, id: record.id })
        else this.#ignored.push({ seq, removed: true, id: record.id })
    }
  }

  async insert(transaction: Database): Promise<void> {
    if (this.#originals.length > 0) await insertInto(transaction, 'said_originals', this.#originals)
    if (this.#backups.length > 0) await insertInto(transaction, 'said_backups', this.#backups)
    if (this.#ignored.length > 0) await insertInto(transaction, 'said_ignored', this.#ignored)
  }
}

async function insertInto(transaction: Database, table: string, rows: readonly Said[]): Promise<void> {
  const name = sql.id(table)
  await sql`insert into ${name} select * from json_populate_recordset(null::${name}, ${JSON.stringify(rows)}::json)`.execute(
    transaction,
  )
}
