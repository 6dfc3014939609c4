import { type RawBuilder, sql } from 'kysely'
import type { Checksum } from '../media/checksum.ts'
import { believable } from './believable.ts'
import type { Database } from './connection.ts'
import { retryingDeadlocks } from './deadlock.ts'
import { ownDateColumn } from './files.ts'
import { isBelow } from './folders.ts'
import { LIBRARY, type PlaceId } from './places.ts'
import type { CopyState } from './tables.ts'

/** A copy of an original, as far as reading it back needs it. */
export interface Provable {
  path: string
  /** Null if it has not been read yet. */
  checksum: Checksum | null
  /** Bytes, if known. */
  size: number | null
  /** Whether it is known that the place does not have it, intact. */
  isLost: boolean
  /** Whether its bytes have been looked at for the capture date that they tell. */
  isDated: boolean
}

/** Which originals; without anything, all. */
export interface Selection {
  /** Only those stored at that time or later. */
  since?: Date | undefined
  /** Only the `number`th of `of` parts (from 1) that stay the same whatever comes and goes beside them. */
  part?: { number: number; of: number } | undefined
  /** Only this original, or what lies in this folder or below it. */
  under?: string | undefined
}

const provable = sql`path, encode(checksum, 'hex') as checksum, size, wanted_since is not null as "isLost",
  own_date is not null as "isDated"`
const copies = sql`copies join files using (path)`
/** Whether a place has it, as far as is known. */
const isThere = sql`copies.wanted_since is null`

/** Returns the original at `path` as the library has it, or `undefined`. */
export async function findOriginal(db: Database, path: string): Promise<Provable | undefined> {
  const { rows } = await sql<Provable>`
    select ${provable} from ${copies} where place = ${LIBRARY} and path = ${path}
  `.execute(db)
  return rows[0]
}

/**
 * Returns up to `limit` of the selected originals that a place has, or had, after the path `after`, in the order of
 * their paths.
 */
export async function listSelected(
  db: Database,
  place: PlaceId,
  selection: Selection,
  after: string,
  limit: number,
): Promise<Provable[]> {
  const { rows } = await sql<Provable>`
    select ${provable} from ${copies}
    where place = ${place} and (${isThere} or (lost_at is not null and place = ${LIBRARY}))
      and path > ${after} and ${condition(selection)}
    order by path limit ${sql.lit(limit)}
  `.execute(db)
  return rows
}

/** How many originals are selected that the place has, and their bytes, as far as they are known. */
export async function countSelected(
  db: Database,
  place: PlaceId,
  selection: Selection,
): Promise<{ files: number; bytes: number }> {
  const { rows } = await sql<{ files: number; bytes: number }>`
    select count(*) as files, coalesce(sum(size), 0) as bytes
    from ${copies} where place = ${place} and ${isThere} and ${condition(selection)}
  `.execute(db)
  return rows[0] ?? { files: 0, bytes: 0 }
}

/** The selection as a condition on `files`. */
export function condition({ since, part, under }: Selection): RawBuilder<unknown> {
  const conditions = [sql`true`]
  if (since !== undefined) conditions.push(sql`stored_at >= ${since.toISOString()}::timestamptz`)
  if (under !== undefined) {
    conditions.push(sql`(path = ${under} or ${isBelow(under)})`)
  }
  // The first 28 bits of the path's MD5; see `partOf`.
  if (part !== undefined) {
    conditions.push(sql`('x' || left(md5(path), 7))::bit(28)::int % ${part.of}::int = ${part.number - 1}::int`)
  }
  return sql.join(conditions, sql` and `)
}

/** An original that was read back and found intact. */
export interface Proven {
  path: string
  checksum: Checksum
  at: Date
  /** The capture date that its bytes tell; null if they tell none, absent if nobody has looked. */
  ownDate?: Date | null | undefined
}

/** Records what was found intact in a place, unless it is another original, or not there, by now. */
export async function recordVerified(db: Database, place: PlaceId, proven: readonly Proven[]): Promise<void> {
  if (proven.length === 0) return
  await retryingDeadlocks(() =>
    sql`
      with offered as materialized (
        select * from unnest(
          ${proven.map((one) => one.path)}::text[],
          ${proven.map((one) => one.checksum)}::text[],
          ${proven.map((one) => one.at.toISOString())}::timestamptz[],
          ${proven.map(({ ownDate }) => (ownDate === undefined ? null : ownDateColumn(ownDate)))}::timestamptz[]
        ) as offered (path, checksum, at, own_date)
      ), dated as (
        update files set own_date = offered.own_date from offered
        where files.path = offered.path and files.checksum = decode(offered.checksum, 'hex')
          and offered.own_date is not null and files.own_date is distinct from offered.own_date
      )
      update copies set verified_at = offered.at, recheck = false
      from offered join files using (path)
      where copies.place = ${place} and copies.path = offered.path and ${isThere}
        and files.checksum = decode(offered.checksum, 'hex')
    `.execute(db),
  )
}

/**
 * Gives an original that has not been read yet the checksum that it should have. How long it should be nobody knows:
 * its size was that of what lay there.
 */
export async function recordExpected(db: Database, path: string, checksum: Checksum): Promise<void> {
  await sql`
    update files set checksum = decode(${checksum}, 'hex'), size = null where path = ${path} and checksum is null
  `.execute(db)
}

/** Whether an original whose content is known has that size, in bytes: any, also one that no column can hold. */
export async function isSizeOfAnother(db: Database, size: number): Promise<boolean> {
  const { rows } = await sql`select from files where size = ${size}::numeric and checksum is not null limit 1`.execute(
    db,
  )
  return rows.length > 0
}

/** Returns the sizes of the originals that the library has lost, with their paths. */
export async function listLost(db: Database, selection: Selection): Promise<{ path: string; size: number | null }[]> {
  const { rows } = await sql<{ path: string; size: number | null }>`
    select path, size from ${copies}
    where place = ${LIBRARY} and lost_at is not null and ${condition(selection)} order by path
  `.execute(db)
  return rows
}

/** What was last proven of a copy, as a column: when it was read back, else when it was written. */
const proof = sql`coalesce(copies.verified_at, copies.copied_at, '-infinity'::timestamptz)`

/** What is lost can't be read back, and what was never read is read elsewhere (`takeOver`). */
const readable = (place: PlaceId) => sql`place = ${place} and ${isThere} and checksum is not null`

/**
 * Returns up to `limit` of a place's copies: those to be read because of trouble, then those whose proof is of a time
 * that can't be believed at `now`, then those last proven before `before`, oldest first.
 */
export async function listDue(
  db: Database,
  place: PlaceId,
  { before, now }: { before: Date; now: Date },
  limit: number,
): Promise<Provable[]> {
  const list = (due: RawBuilder<unknown>, order: RawBuilder<unknown>) => sql<Provable>`
    select ${provable} from ${copies} where ${due} and ${readable(place)} order by ${order} limit ${sql.lit(limit)}
  `
  const { rows: troubled } = await list(sql`recheck`, sql`path`).execute(db)
  if (troubled.length > 0) return troubled
  const inOrder = sql`${proof}, path`
  const { rows: unbelievable } = await list(sql`${proof} > ${believable(now)}`, inOrder).execute(db)
  if (unbelievable.length > 0) return unbelievable
  return (await list(sql`${proof} < ${before.toISOString()}::timestamptz`, inOrder).execute(db)).rows
}

/** Returns the paths of the originals that the library has lost, or that nobody has read yet. */
export async function listUncertain(db: Database): Promise<string[]> {
  const { rows } = await sql<{ path: string }>`
    select path from copies where place = ${LIBRARY} and lost_at is not null
    union all
    select path from originals where checksum is null and lost_at is null
    order by path
  `.execute(db)
  return rows.map((row) => row.path)
}

/** Whether copies in a place are to be read because of trouble. */
export async function isTroubled(db: Database, place: PlaceId): Promise<boolean> {
  const { rows } = await sql`select from ${copies} where recheck and ${readable(place)} limit 1`.execute(db)
  return rows.length > 0
}

/** Has these originals of the library read again soon. */
export async function recheckPaths(db: Database, paths: readonly string[]): Promise<void> {
  await sql`
    update copies set recheck = true where place = ${LIBRARY} and path = any(${paths}::text[]) and ${isThere}
  `.execute(db)
}

/**
 * Has everything in a place read again soon that was written there at that time or later. Returns how many that are.
 */
export async function recheckSince(db: Database, place: PlaceId, since: Date): Promise<number> {
  const from = sql`${since.toISOString()}::timestamptz`
  const { numAffectedRows } = await sql`
    update copies set recheck = true
    where place = ${place} and ${proof} >= ${from} and copied_at >= ${from} and ${isThere} and not recheck
  `.execute(db)
  return Number(numAffectedRows ?? 0)
}

/** When something was last backed up, as far as that can be believed at `now`; `undefined` if nothing was. */
export async function findLastBackup(db: Database, now: Date): Promise<Date | undefined> {
  const { rows } = await sql<{ timestamp: Date }>`
    select timestamp from backups
    where status <> 'Pending' and timestamp is not null and timestamp <= ${believable(now)}
    order by timestamp desc nulls last, id desc limit 1
  `.execute(db)
  return rows[0]?.timestamp
}

/**
 * When that copy in a place whose proof is oldest was read back, or else written; `undefined` if there is none. Minus
 * infinity: nobody knows, or what is said can't be believed at `now`.
 */
export async function findOldestProof(db: Database, place: PlaceId, now: Date): Promise<number | undefined> {
  const { rows } = await sql<{ at: number }>`
    (select '-infinity'::float8 as at from ${copies} where ${proof} > ${believable(now)} and ${readable(place)} limit 1)
    union all
    (select (extract(epoch from ${proof}) * 1000)::float8 as at from ${copies}
     where ${readable(place)} order by ${proof}, path limit 1)
    order by at limit 1
  `.execute(db)
  return rows[0]?.at
}

/**
 * When a copy in a place was last written or read back, as far as that can be believed at `now`; `undefined` if none
 * was.
 */
export async function findLastProof(db: Database, place: PlaceId, now: Date): Promise<Date | undefined> {
  // Minus infinity is no Date.
  const { rows } = await sql<{ at: Date | number }>`
    select ${proof} as at from copies where place = ${place} and ${isThere} and ${proof} <= ${believable(now)}
    order by ${proof} desc, path desc limit 1
  `.execute(db)
  const at = rows[0]?.at
  return at instanceof Date ? at : undefined
}

/** The state of the library, as far as reading it back has shown. Each original counts once. */
export interface Proof {
  /** Read back and intact. */
  intact: Count
  /** Stored, and not read back since. */
  unverified: Count
  /** An older server's, or found on the drive, and not read yet. */
  unread: Count
  /** Not on the drive any more, or not intact. */
  lost: Count
  /** When that intact original was read back which was read back longest ago; null without any. */
  oldest: Date | null
}

export interface Count {
  files: number
  /** As far as they are known. */
  bytes: number
}

/**
 * Counts the originals by their state in the library, at the same cost for any number of them, but for those that were
 * read back at a time that can't be believed at `now`: they count as not read back.
 */
export async function countByState(db: Database, now: Date): Promise<Proof> {
  const totals = await db.selectFrom('place_totals').selectAll().where('place', '=', LIBRARY).execute()
  const of = (state: CopyState) => {
    return totals.filter((row) => row.state === state).reduce((sum, row) => plus(sum, row, 1), { files: 0, bytes: 0 })
  }
  const proven = sql`place = ${LIBRARY} and ${isThere} and verified_at is not null`
  const { rows } = await sql<{ oldest: Date | null; files: number; bytes: number }>`
    select
      count(*) as files, coalesce(sum(size), 0) as bytes,
      (select verified_at from copies where ${proven} and verified_at <= ${believable(now)} order by verified_at limit 1) as oldest
    from ${copies} where ${proven} and checksum is not null and verified_at > ${believable(now)}
  `.execute(db)
  const { oldest, ...doubtful } = rows[0] ?? { oldest: null, files: 0, bytes: 0 }
  return {
    intact: plus(of('intact'), doubtful, -1),
    unverified: plus(of('unverified'), doubtful, 1),
    unread: of('unread'),
    lost: of('lost'),
    oldest,
  }
}

function plus(count: Count, other: Count, sign: 1 | -1): Count {
  return { files: count.files + sign * other.files, bytes: count.bytes + sign * other.bytes }
}

/**
 * When the next original has to have been read back, with each being read at least every `every` ms: in the past if
 * that is overdue, now where trouble asks for it. Null for a library without originals.
 */
export async function nextDue(db: Database, every: number, now: Date): Promise<Date | null> {
  const oldest = await findOldestProof(db, LIBRARY, now)
  if (oldest === undefined) return null
  if (oldest === Number.NEGATIVE_INFINITY || (await isTroubled(db, LIBRARY))) return now
  return new Date(oldest + every)
}
