import { sql } from 'kysely'
import type { Database } from './connection.ts'
import { retryingDeadlocks } from './deadlock.ts'
import { LIBRARY } from './places.ts'

/*
 * What an older server says of its originals, and what a look at the drive says instead. It wrote over a file of the
 * same name: then several rows refer to one file, and those whose size is not the file's are not backed up.
 */

/** An original of an older server that nobody has read. */
export interface OldOriginal {
  path: string
  /** As the catalogue has it, in bytes; null if it does not know. */
  size: number | null
  /** Whether a row that refers to it says another size. */
  isDisputed: boolean
}

const isUnread = sql`files.checksum is null and files.lost_at is null`
/** `files` has another collation than `backups`, in which PostgreSQL would not use the index. */
const oldOriginal = sql`
  files.path, files.size, exists (
    select from backups
    where backups.file_path = files.path collate "default" and backups.status = 'Completed' and backups.file_size <> files.size
  ) as "isDisputed"`

/** Returns up to `limit` originals that have not been read, after the path `after`, in order. */
export async function listOld(db: Database, after: string, limit: number): Promise<OldOriginal[]> {
  const { rows } = await sql<OldOriginal>`
    select ${oldOriginal} from originals as files where ${isUnread} and files.path > ${after} order by files.path limit ${sql.lit(limit)}
  `.execute(db)
  return rows
}

/** Returns those after the path `after` that backups of these paths on a phone refer to. */
export async function listOldOf(
  db: Database,
  deviceId: string,
  phonePaths: readonly string[],
  after: string,
): Promise<OldOriginal[]> {
  const { rows } = await sql<OldOriginal>`
    select ${oldOriginal} from originals as files
    where ${isUnread} and files.path > ${after} and files.path in (
      select backups.file_path
      from unnest(${phonePaths}::text[]) as offered (path)
        join backups on backups.asset_key = iclood_asset_key(${deviceId}, offered.path) and backups.status = 'Completed'
    )
  `.execute(db)
  return rows
}

/** Where an original lies, and its size on the drive in bytes. */
export interface Sized {
  path: string
  size: number
}

/** Records the sizes that unread originals have on the drive. Returns how many rows are refuted by it. */
export async function recordSizes(db: Database, seen: readonly Sized[]): Promise<number> {
  return retryingDeadlocks(() =>
    db.transaction().execute(async (transaction) => {
      const unread = new Set((await hold(transaction, seen)).map(({ path }) => path))
      const now = seen.filter(({ path }) => unread.has(path))
      const refuted = await refute(transaction, now)
      await sql`
        update files set size = seen.size from ${rowsOf(now)} as seen (path, size)
        where files.path = seen.path and files.size is distinct from seen.size
      `.execute(transaction)
      return refuted
    }),
  )
}

/**
 * Declares unread originals lost that the drive does not have: a finding tells of each, and phones are asked for them.
 * Returns how many rows it changed.
 */
export async function recordAbsent(db: Database, paths: readonly string[], reason: string, now: Date): Promise<number> {
  const timestamp = sql`${now.toISOString()}::timestamptz`
  return retryingDeadlocks(() =>
    db.transaction().execute(async (transaction) => {
      const unread = await hold(
        transaction,
        paths.map((path) => ({ path })),
      )
      const absent = unread.map(({ path }) => path)
      const refuted = await refute(
        transaction,
        unread.flatMap(({ path, size }) => (size === null ? [] : { path, size })),
      )
      const { numAffectedRows: failed } = await sql`
        update backups set status = 'Failed', failure = ${reason}
        where file_path = any(${absent}::text[]) and status = 'Completed'
      `.execute(transaction)
      await sql`
        update copies set wanted_since = ${timestamp}, lost_at = ${timestamp}
        where place = ${LIBRARY} and path = any(${absent}::text[])
      `.execute(transaction)
      await sql`
        insert into findings (place, kind, path, found_at)
        select ${LIBRARY}::smallint, 'missing', path, ${timestamp} from unnest(${absent}::text[]) as path
        on conflict do nothing
      `.execute(transaction)
      return refuted + Number(failed ?? 0)
    }),
  )
}

/** Holds the rows of those that have not been read, until the transaction ends; returns them. */
async function hold(
  transaction: Database,
  originals: readonly { path: string }[],
): Promise<{ path: string; size: number | null }[]> {
  const { rows } = await sql<{ path: string; size: number | null }>`
    select path, size from copies join files using (path)
    where place = ${LIBRARY} and path = any(${originals.map(({ path }) => path)}::text[])
      and checksum is null and lost_at is null
    order by path for update of copies, files
  `.execute(transaction)
  return rows
}

/**
 * Takes their file from the rows that refer to one of `originals` and say another size than it has: they are of another
 * photo, which is asked for again. Returns how many they are. Within a transaction it comes before any change of
 * `files`, as for whoever else changes rows: the counts, which are locked at each change, come after the rows.
 */
export async function refute(db: Database, originals: readonly Sized[]): Promise<number> {
  const { numAffectedRows } = await sql`
    update backups set
      status = 'Failed', file_path = null, failure = format(
        'An older server has put another file in its place (%s, %s bytes instead of %s); it is asked for again.',
        seen.path, seen.size, backups.file_size
      )
    from ${rowsOf(originals)} as seen (path, size)
    where backups.file_path = seen.path and backups.status = 'Completed' and backups.file_size <> seen.size
  `.execute(db)
  return Number(numAffectedRows ?? 0)
}

function rowsOf(originals: readonly Sized[]) {
  return sql`unnest(
    ${originals.map(({ path }) => path)}::text[], ${originals.map(({ size }) => size)}::bigint[]
  )`
}
