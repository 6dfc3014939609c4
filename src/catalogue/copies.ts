import { sql } from 'kysely'
import type { Checksum } from '../media/checksum.ts'
import { believable } from './believable.ts'
import type { Database } from './connection.ts'
import { retryingDeadlocks } from './deadlock.ts'
import { listFolder } from './folders.ts'
import { isElsewhere, LIBRARY, type PlaceId } from './places.ts'

/** An original as far as a copy of it needs it. */
export interface CopyWanted {
  path: string
  checksum: Checksum
  /** Bytes; null if the catalogue does not know. */
  size: number | null
}

/** What a place should have and has not, while the library has it. */
const wanted = sql`
  from copies
    join files using (path)
    join copies as source on source.path = copies.path and source.place = ${LIBRARY} and source.wanted_since is null
  where copies.wanted_since is not null and files.checksum is not null`
const wantedColumns = sql`copies.path, encode(files.checksum, 'hex') as checksum, files.size`

/**
 * Returns up to `limit` originals that a place should have and has not, those that have come last first, without those
 * under the paths `but`. What the library has lost, or nobody has read yet, waits.
 */
export async function listWanted(
  db: Database,
  place: PlaceId,
  limit: number,
  but: readonly string[] = [],
): Promise<CopyWanted[]> {
  const { rows } = await sql<CopyWanted>`
    select ${wantedColumns} ${wanted}
      and copies.place = ${place} and copies.path <> all(${but}::text[])
    order by copies.wanted_since desc, copies.path limit ${sql.lit(limit)}
  `.execute(db)
  return rows
}

/** Returns the original at `path` if the place should have it and has not, and the library has it. */
export async function findWanted(db: Database, place: PlaceId, path: string): Promise<CopyWanted | undefined> {
  const { rows } = await sql<CopyWanted>`
    select ${wantedColumns} ${wanted} and copies.place = ${place} and copies.path = ${path}
  `.execute(db)
  return rows[0]
}

/**
 * Records that a place has durable copies, each read back just now. Leaves out those whose original is another one by
 * now, or gone.
 */
export async function recordCopies(
  db: Database,
  place: PlaceId,
  copies: readonly { path: string; checksum: Checksum }[],
  now: Date,
): Promise<void> {
  const timestamp = sql`${now.toISOString()}::timestamptz`
  await retryingDeadlocks(() =>
    sql`
      update copies set
        wanted_since = null, lost_at = null, copied_at = ${timestamp}, verified_at = ${timestamp}, recheck = false
      from unnest(
        ${copies.map((copy) => copy.path)}::text[], ${copies.map((copy) => copy.checksum)}::text[]
      ) as offered (path, checksum) join files using (path)
      where copies.place = ${place} and copies.path = offered.path
        and files.checksum = decode(offered.checksum, 'hex')
    `.execute(db),
  )
}

/** Records that a mirror does not have an intact copy any more: it is wanted again. Returns whether that is news. */
export async function recordCopyLost(db: Database, place: PlaceId, path: string, now: Date): Promise<boolean> {
  const timestamp = sql`${now.toISOString()}::timestamptz`
  const { numAffectedRows } = await sql`
    update copies set
      wanted_since = ${timestamp}, lost_at = ${timestamp}, copied_at = null, verified_at = null, recheck = false
    where place = ${place} and path = ${path} and wanted_since is null
  `.execute(db)
  return numAffectedRows === 1n
}

/** A copy on a mirror. */
export interface CopyThere {
  place: PlaceId
  path: string
}

/** Returns the copies on mirrors with that content, in the order of places and paths. */
export async function findCopiesOf(db: Database, checksum: Checksum): Promise<CopyThere[]> {
  const { rows } = await sql<CopyThere>`
    select place, path from files join copies using (path)
    where checksum = decode(${checksum}, 'hex') and ${isElsewhere} order by place, path
  `.execute(db)
  return rows
}

/** Returns the name and checksum of every copy in a folder such as `2024/07`, in the order of their names. */
export async function copiesIn(
  db: Database,
  place: PlaceId,
  folder: string,
): Promise<{ name: string; checksum: Checksum }[]> {
  const copies = await listFolder(db, folder, { isDirect: true, place })
  return copies.flatMap(({ name, checksum }) => (checksum === null ? [] : [{ name, checksum }]))
}

/** Originals that the library has lost and that mirror has, in the order of their paths, after the path `after`. */
export async function listRestorable(db: Database, place: PlaceId, after: string, limit: number): Promise<string[]> {
  const { rows } = await sql<{ path: string }>`
    select lost.path from copies as lost join copies as there using (path)
    where lost.place = ${LIBRARY} and lost.lost_at is not null and lost.path > ${after}
      and there.place = ${place} and there.wanted_since is null
    order by lost.path limit ${sql.lit(limit)}
  `.execute(db)
  return rows.map((row) => row.path)
}

/** What a mirror does not have yet. */
export interface Backlog {
  files: number
  bytes: number
  /** Since when that one has been wanted which has waited longest; null if none waits. */
  oldest: Date | null
}

/**
 * What a mirror (null: one that is not known yet) does not have of what the library has, at the same cost for any
 * number of originals. What has been
 * wanted since a time that can't be believed at `now` has waited for a day.
 */
export async function findBacklog(db: Database, place: PlaceId | null, now: Date): Promise<Backlog> {
  // What nobody has read yet, and what was put on no list yet, is not there either.
  const { rows } = await sql<Backlog>`
    with library as (
      select coalesce(sum(files), 0) as files, coalesce(sum(bytes), 0) as bytes
      from place_totals where place = ${LIBRARY} and state <> 'lost'
    ), there as (
      select coalesce(sum(files), 0) as files, coalesce(sum(bytes), 0) as bytes
      from place_totals where place = ${place} and state not in ('lost', 'wanted')
    ), only_there as (
      select count(*) as files, coalesce(sum(size), 0) as bytes
      from copies as lost join copies as there using (path) join files using (path)
      where lost.place = ${LIBRARY} and lost.lost_at is not null and there.place = ${place} and there.wanted_since is null
    ), oldest as (
      select copies.wanted_since as at ${wanted} and copies.place = ${place} order by copies.wanted_since limit 1
    )
    select
      library.files - there.files + only_there.files as files, library.bytes - there.bytes + only_there.bytes as bytes,
      (select case when at <= ${believable(now)} then at else ${now.toISOString()}::timestamptz - interval '1 day' end
       from oldest) as oldest
    from library, there, only_there
  `.execute(db)
  return rows[0] ?? { files: 0, bytes: 0, oldest: null }
}
