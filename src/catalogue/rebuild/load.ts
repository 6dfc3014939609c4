import { sql } from 'kysely'
import type { BackupRecord, IgnoredRecord, JournalRecord, OriginalFacts } from '../../format/journal-record.ts'
import type { Database } from '../connection.ts'

/** Records sent in one statement: some 600 KB of JSON, several times that while PostgreSQL reads it. */
const BATCH = 1000

/**
 * Makes the temporary tables `said_originals`, `said_backups` and `said_ignored`, which end with the transaction. Each
 * has what was said about a thing, once for each time that it was said, and `seq` tells the order; `removed` is the
 * word that takes it away.
 */
export async function createSaid(transaction: Database): Promise<void> {
  await sql`
    create temporary table said_originals (
      seq bigint, removed boolean, path text collate "C", sha256 text, size bigint, media_type text, captured_at timestamptz,
      captured_offset smallint, content_id text, stored_at timestamptz
    ) on commit drop`.execute(transaction)
  await sql`
    create temporary table said_backups (
      seq bigint, removed boolean, id bigint, device text, phone_path text, asset_id text, name text, kind text, status text,
      failure text, at timestamptz, created float8, modified float8, announced_size bigint, announced_from text, sent_from text,
      size bigint, media_type text, path text collate "C"
    ) on commit drop`.execute(transaction)
  await sql`
    create temporary table said_ignored (
      seq bigint, removed boolean, id bigint, device text, phone_path text, asset_id text, name text, at timestamptz,
      created float8, announced_size bigint, ignored_from text
    ) on commit drop`.execute(transaction)
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
