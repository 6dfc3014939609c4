import { type RawBuilder, sql } from 'kysely'
import type { Checksum } from '../media/checksum.ts'
import { believable } from './believable.ts'
import type { Database } from './connection.ts'
import { retryingDeadlocks } from './deadlock.ts'
import { listFolder } from './folders.ts'
import { condition, type Selection } from './verification.ts'

/** An original as far as its second copy needs it. */
export interface CopyWanted {
  path: string
  checksum: Checksum
  /** Bytes; null if the catalogue does not know. */
  size: number | null
}

/**
 * Looks through the next `portion` originals after the path `after` and returns the paths of those that should have a
 * copy and have none, in order, and the last path looked at; `last` is null when there are no more. What is missing or
 * not read yet waits.
 */
export async function listUncopied(
  db: Database,
  after: string,
  portion: number,
): Promise<{ paths: string[]; last: string | null }> {
  const { rows } = await sql<{ paths: string[]; last: string | null }>`
    with portion as materialized (
      select path, checksum, missing_at from files where path > ${after} order by path limit ${portion}
    )
    select
      (select max(path) from portion) as last,
      array(
        select path from portion
        where checksum is not null and missing_at is null
          and not exists (select from copies where copies.path = portion.path)
        order by path
      ) as paths
  `.execute(db)
  return rows[0] ?? { paths: [], last: null }
}

/**
 * Returns which of `paths` should have a copy and have none, in order, and which of them the catalogue does not have as
 * an original any more.
 */
export async function sortWanted(
  db: Database,
  paths: readonly string[],
): Promise<{ wanted: CopyWanted[]; gone: string[] }> {
  const { rows } = await sql<{ wanted: CopyWanted | null; gone: string | null }>`
    select
      case when files.path is null then offered.path end as gone,
      case when checksum is not null and missing_at is null and copies.path is null then
        jsonb_build_object('path', files.path, 'checksum', encode(checksum, 'hex'), 'size', size)
      end as wanted
    from unnest(${paths}::text[]) as offered (path)
      left join files on files.path = offered.path
      left join copies on copies.path = offered.path
    order by offered.path
  `.execute(db)
  return {
    wanted: rows.flatMap((row) => row.wanted ?? []),
    gone: rows.flatMap((row) => row.gone ?? []),
  }
}

/**
 * Records that the mirror `mirrorId` has durable copies, each read back just now. Leaves out those whose original is
 * another one by now, and does nothing if that is not the mirror any more.
 */
export async function recordCopies(
  db: Database,
  mirrorId: string,
  copies: readonly { path: string; checksum: Checksum }[],
  now: Date,
): Promise<void> {
  const timestamp = sql`${now.toISOString()}::timestamptz`
  await retryingDeadlocks(() =>
    sql`
      with mirror as materialized (
        select id from library where mirror_id = ${mirrorId} for share
      ), present as materialized (
        select files.path
        from unnest(
          ${copies.map((copy) => copy.path)}::text[], ${copies.map((copy) => copy.checksum)}::text[]
        ) as offered (path, checksum) join files using (path)
        where files.checksum = decode(offered.checksum, 'hex')
        order by files.path
        for key share of files
      )
      insert into copies (path, copied_at, verified_at)
      select present.path, ${timestamp}, ${timestamp} from present, mirror
      on conflict (path) do update set copied_at = excluded.copied_at, verified_at = excluded.verified_at
    `.execute(db),
  )
}

/**
 * Records copies that were read back from the mirror and are intact, each at its time, unless they are others by now.
 */
export async function recordCopiesVerified(
  db: Database,
  copies: readonly { path: string; checksum: Checksum; at: Date }[],
): Promise<void> {
  if (copies.length === 0) return
  await retryingDeadlocks(() =>
    sql`
      update copies set verified_at = offered.at
      from unnest(
        ${copies.map((copy) => copy.path)}::text[],
        ${copies.map((copy) => copy.checksum)}::text[],
        ${copies.map((copy) => copy.at.toISOString())}::timestamptz[]
      ) as offered (path, checksum, at) join files using (path)
      where copies.path = offered.path and files.checksum = decode(offered.checksum, 'hex')
    `.execute(db),
  )
}

/** Returns up to `limit` copies of the selected originals after the path `after`, in the order of their paths. */
export async function listSelectedCopies(
  db: Database,
  selection: Selection,
  after: string,
  limit: number,
): Promise<CopyWanted[]> {
  const { rows } = await sql<CopyWanted>`
    select path, encode(checksum, 'hex') as checksum, size
    from copies join files using (path)
    where path > ${after} and checksum is not null and ${condition(selection)}
    order by path limit ${limit}
  `.execute(db)
  return rows
}

/** How many copies those are, and their bytes. */
export async function countSelectedCopies(
  db: Database,
  selection: Selection,
): Promise<{ files: number; bytes: number }> {
  const { rows } = await sql<{ files: number; bytes: number }>`
    select count(*) as files, coalesce(sum(size), 0) as bytes
    from copies join files using (path) where checksum is not null and ${condition(selection)}
  `.execute(db)
  return rows[0] ?? { files: 0, bytes: 0 }
}

/** When a copy was last found intact. */
const proof = sql`coalesce(copies.verified_at, copies.copied_at)`

/**
 * Returns up to `limit` copies that were last found intact at a time that can't be believed at `now`, or before
 * `before`, the oldest first.
 */
export async function listDueCopies(
  db: Database,
  { before, now }: { before: Date; now: Date },
  limit: number,
): Promise<CopyWanted[]> {
  const due = (condition: RawBuilder<unknown>) => sql<CopyWanted>`
    select path, encode(checksum, 'hex') as checksum, size
    from copies join files using (path)
    where ${condition} and checksum is not null
    order by ${proof}, path limit ${limit}
  `
  const { rows: unbelievable } = await due(sql`${proof} > ${believable(now)}`).execute(db)
  if (unbelievable.length > 0) return unbelievable
  const { rows } = await due(sql`${proof} < ${before.toISOString()}::timestamptz`).execute(db)
  return rows
}

/**
 * When that copy was last found intact which was so longest ago (ms since 1970; minus infinity: to be read at once, or
 * what is said can't be believed at `now`); `undefined` if there is none.
 */
export async function findOldestCopyProof(db: Database, now: Date): Promise<number | undefined> {
  const { rows } = await sql<{ at: number }>`
    (select '-infinity'::float8 as at from copies where ${proof} > ${believable(now)} limit 1)
    union all
    (select (extract(epoch from ${proof}) * 1000)::float8 as at from copies order by ${proof}, path limit 1)
    order by at limit 1
  `.execute(db)
  return rows[0]?.at
}

/** When a copy was last made or read back, as far as that can be believed at `now`; `undefined` if none was. */
export async function findLastCopy(db: Database, now: Date): Promise<Date | undefined> {
  // Minus infinity is no Date.
  const { rows } = await sql<{ at: Date | number }>`
    select ${proof} as at from copies where ${proof} <= ${believable(now)}
    order by ${proof} desc, path desc limit 1
  `.execute(db)
  const at = rows[0]?.at
  return at instanceof Date ? at : undefined
}

/** Has the copies read back at once that were made at that time or later: there was trouble around it. */
export async function recheckCopies(db: Database, since: Date): Promise<void> {
  const from = sql`${since.toISOString()}::timestamptz`
  await sql`
    update copies set verified_at = '-infinity'
    where coalesce(verified_at, copied_at) >= ${from} and copied_at >= ${from}
  `.execute(db)
}

/** Records that the mirror does not have an intact copy. Returns whether that is news. */
export async function forgetCopy(db: Database, path: string): Promise<boolean> {
  const { numDeletedRows } = await db.deleteFrom('copies').where('path', '=', path).executeTakeFirst()
  return numDeletedRows > 0n
}

/** Returns the paths of the copies with that content, in order. */
export async function findCopiesOf(db: Database, checksum: Checksum): Promise<string[]> {
  const { rows } = await sql<{ path: string }>`
    select path from files join copies using (path) where checksum = decode(${checksum}, 'hex') order by path
  `.execute(db)
  return rows.map((row) => row.path)
}

/** Returns the name and checksum of every copy in a folder such as `2024/07`, in the order of their names. */
export async function copiesIn(db: Database, folder: string): Promise<{ name: string; checksum: Checksum }[]> {
  const copies = await listFolder(db, folder, { isDirect: true, isCopied: true })
  return copies.flatMap(({ name, checksum }) => (checksum === null ? [] : [{ name, checksum }]))
}

/** Originals that are missing from the library and have a copy, in the order of their paths, after the path `after`. */
export async function listMissingWithCopy(db: Database, after: string, limit: number): Promise<string[]> {
  const { rows } = await sql<{ path: string }>`
    select path from files join copies using (path)
    where files.missing_at is not null and path > ${after}
    order by path limit ${limit}
  `.execute(db)
  return rows.map((row) => row.path)
}

/** What the mirror does not have yet. */
export interface Backlog {
  files: number
  bytes: number
  /** When the one that has waited longest was stored; null if none waits. */
  oldest: Date | null
}

/**
 * Counts what the mirror does not have yet. What was stored at a time that can't be believed at `now` has waited for a
 * day. Looks at every original: a second for a million.
 */
export async function sumUncopied(db: Database, now: Date): Promise<Backlog> {
  const { rows } = await sql<Backlog>`
    select
      count(*) as files, coalesce(sum(size), 0) as bytes,
      min(case when stored_at <= ${believable(now)} then stored_at
          when stored_at is not null then ${now.toISOString()}::timestamptz - interval '1 day' end) as oldest
    from files
    where missing_at is null and not exists (select from copies where copies.path = files.path)
  `.execute(db)
  return rows[0] ?? { files: 0, bytes: 0, oldest: null }
}
