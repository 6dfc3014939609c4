import { sql } from 'kysely'
import type { LibraryPath } from '../format/layout.ts'
import type { Database } from './connection.ts'
import type { OutboxTable } from './tables.ts'

/*
 * The outbox: what has changed and is not on the drive yet. Triggers fill it, in the transaction of each change; one
 * keeper reads it, writes, and settles. Nobody waits for anybody: it holds nothing between its queries.
 */

/** What the outbox has. */
export interface Outbox {
  /** The number of its newest row; null if it is empty. */
  newest: number | null
  /** The rows that ask for a snapshot of everything. */
  snapshot: number[]
}

export async function lookIntoOutbox(db: Database): Promise<Outbox> {
  const { rows } = await sql<Outbox>`
    select max(seq) as newest, coalesce(json_agg(seq) filter (where what = 'snapshot'), '[]') as snapshot from outbox
  `.execute(db)
  return rows[0] ?? { newest: null, snapshot: [] }
}

/** Whether the drive knows all that the catalogue does. */
export async function isAllWritten(db: Database): Promise<boolean> {
  return (await lookIntoOutbox(db)).newest === null
}

/** Whether each SHA256SUMS of the library should have a line for each original that has been read. */
export async function isAllSummed(db: Database): Promise<boolean> {
  const { rows } = await sql`select from outbox where what in ('original', 'sums', 'snapshot') limit 1`.execute(db)
  return rows.length === 0
}

/** Rows that have changed, each once, and the rows of the outbox that say so. */
export interface News {
  seqs: number[]
  /** Ids in `backups` and in `ignored_files`, paths in `files`. */
  backups: number[]
  ignored: number[]
  originals: LibraryPath[]
}

/**
 * Returns up to `limit` of the changes after the row `after` of the outbox, up to `newest`, in order; `undefined` if
 * there are none.
 */
export async function listNews(db: Database, after: number, newest: number, limit: number): Promise<News | undefined> {
  const rows = await db
    .selectFrom('outbox')
    .selectAll()
    .where('seq', '>', after)
    .where('seq', '<=', newest)
    .where('what', 'not in', ['sums', 'snapshot'])
    .orderBy('seq')
    .limit(limit)
    .execute()
  if (rows.length === 0) return undefined
  const keysOf = (...wanted: OutboxTable['what'][]) => [
    ...new Set(rows.flatMap(({ what, key }) => (wanted.includes(what) ? key : []))),
  ]
  return {
    seqs: rows.map(({ seq }) => seq),
    backups: keysOf('backup').map(Number),
    ignored: keysOf('ignored').map(Number),
    // Whatever the catalogue has, nothing of it may keep the rest from being told.
    originals: keysOf('original', 'facts') as LibraryPath[],
  }
}

/** A month folder whose SHA256SUMS has to be compared with the catalogue, and the rows of the outbox that say so. */
export interface DoubtfulSums {
  folder: string
  seqs: number[]
}

/** Returns up to `limit` of them whose last row comes after `after`, in the order of these; of rows up to `newest`. */
export async function listDoubtfulSums(
  db: Database,
  after: number,
  newest: number,
  limit: number,
): Promise<DoubtfulSums[]> {
  const { rows } = await sql<DoubtfulSums>`
    select key as folder, json_agg(seq) as seqs from outbox where what = 'sums' and seq <= ${newest}
    group by key having max(seq) > ${after} order by max(seq) limit ${limit}
  `.execute(db)
  return rows
}

/** Takes rows out of the outbox: what they say is on the drive, but that the sums of `doubtful` are to be compared. */
export async function settleNews(
  db: Database,
  seqs: readonly number[],
  doubtful: readonly string[] = [],
): Promise<void> {
  await sql`
    with told as (insert into outbox (what, key) select 'sums', unnest(${doubtful}::text[]))
    delete from outbox where seq = any(${seqs}::bigint[])
  `.execute(db)
}

/** Says that the journal lacks what nobody knows: a snapshot has to be written. Returns the row that says so. */
export async function oweSnapshot(db: Database): Promise<number> {
  const row = db.insertInto('outbox').values({ what: 'snapshot', key: '' }).returning('seq')
  return (await row.executeTakeFirstOrThrow()).seq
}

/** For the rest of the transaction: large sets are told of as a snapshot that is owed, not row by row. */
export async function tellAsSnapshot(transaction: Database): Promise<void> {
  await sql`set local iclood.outbox = 'snapshot'`.execute(transaction)
}
