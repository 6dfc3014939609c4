import { sql } from 'kysely'
import type { Checksum } from '../media/checksum.ts'
import { BY_IGNORING, settleLosses } from './acceptance.ts'
import type { Database } from './connection.ts'
import { isDeadlock, retryingDeadlocks } from './deadlock.ts'
import { healFindings, noteQuarantined } from './findings.ts'
import { refute } from './old-originals.ts'
import { isElsewhere, LIBRARY } from './places.ts'
import { isIgnoredRow } from './same-asset.ts'

/** How the drive does not have an original any more. */
export interface Loss {
  path: string
  kind: 'missing' | 'corrupt' | 'unreadable'
  /** What it should be, and what lies there instead (see `Finding`); null as far as it is not known. */
  expected: Checksum | null
  found: string | null
}

const LOSSES = ['missing', 'corrupt', 'unreadable'] as const

/**
 * Declares an original lost, in one transaction: its `Completed` rows become `Failed` with `reason`, so that phones are
 * asked for it again, and a finding says so. An original that is lost already stays so, and the finding is brought up
 * to date; what was corrupt does not become missing because it has been moved to quarantine. What is missing and
 * ignored, by each phone that had it, is what somebody has deleted and does not want: its loss is accepted at once.
 *
 * `isStillSo` is asked while nobody else can change the original's state: whoever has put it back since it was looked
 * at must not see it declared lost. Returns the id of the finding; `undefined`, with nothing changed, if it says no or
 * the catalogue does not have the original any more.
 */
export async function declareLost(
  db: Database,
  loss: Loss,
  reason: string,
  now: Date,
  isStillSo: () => Promise<boolean> = async () => true,
): Promise<number | undefined> {
  const timestamp = sql`${now.toISOString()}::timestamptz`
  return retryingDeadlocks(() =>
    db.transaction().execute(async (transaction) => {
      const { rows: held } = await sql`
        select from copies join files using (path)
        where place = ${LIBRARY} and path = ${loss.path} for update of copies, files
      `.execute(transaction)
      if (held.length === 0 || !(await isStillSo())) return undefined
      // The rows first: whoever else changes rows has them before the lock of the counts, which each change takes at
      // its end.
      await sql`
        update backups set status = 'Failed', failure = ${reason}
        where file_path = ${loss.path} and status = 'Completed'
      `.execute(transaction)
      await sql`
        update copies set
          wanted_since = coalesce(wanted_since, ${timestamp}), lost_at = coalesce(lost_at, ${timestamp}), verified_at = null, recheck = false
        where place = ${LIBRARY} and path = ${loss.path}
      `.execute(transaction)
      const { rows: findings } = await sql<{ id: number }>`
        with known as materialized (
          select id, kind from findings
          where place = ${LIBRARY} and path = ${loss.path} and kind = any(${LOSSES}::text[]) and healed_at is null
        ), changed as (
          update findings set kind = ${loss.kind}, expected = ${loss.expected}, found = ${loss.found}
          from known
          where findings.id = known.id and not (known.kind = 'corrupt' and ${loss.kind} = 'missing')
        ), added as (
          insert into findings (place, kind, path, expected, found, found_at)
          select ${LIBRARY}::smallint, ${loss.kind}, ${loss.path}, ${loss.expected}, ${loss.found}, ${timestamp}
          where not exists (select from known)
          returning id
        )
        select id from known union all select id from added
      `.execute(transaction)
      await settleIgnored(transaction, loss.path, now)
      return findings[0]?.id ?? 0
    }),
  )
}

/** Accepts that an original is missing, if all who had it have ignored it and no copy is left to heal it from. */
async function settleIgnored(transaction: Database, path: string, now: Date): Promise<void> {
  const { rows } = await sql`
    select from findings
    where place = ${LIBRARY} and path = ${path} and kind = 'missing' and healed_at is null
      and not exists (select from copies where ${isElsewhere} and copies.path = ${path})
      and (select bool_and(${isIgnoredRow}) from backups where file_path = ${path})
  `.execute(transaction)
  const paths = rows.length === 0 ? [] : [path]
  await settleLosses(transaction, paths, isIgnoredRow, BY_IGNORING, now)
}

/**
 * For when the copy of an original has gone, too: if it is missing and ignored, as in `declareLost`, its loss is
 * accepted now that nothing is left to heal it from.
 */
export async function settleWithoutCopy(db: Database, path: string, now: Date): Promise<void> {
  return retryingDeadlocks(() => db.transaction().execute((transaction) => settleIgnored(transaction, path, now)))
}

/** A lost original whose state nobody else can change. What is said here counts when the work is over. */
export interface HeldLoss {
  readonly checksum: Checksum | null
  readonly size: number | null
  /**
   * The intact original, of `size` bytes, lies in its place, durable. `sentFrom` is where its bytes came from, if
   * nobody knows that they are the same: then its rows are of that address.
   */
  restored(by: string, size: number, now: Date, sentFrom?: string | null): Promise<void>
  /** What lay in its place was moved to `place`. */
  quarantined(place: string): Promise<void>
}

/**
 * Runs `work` on the place of a lost original while nobody else, in this process or another, changes what lies there or
 * what the catalogue says of it. Returns `undefined`, without running it, if the original is not lost (any more); and
 * if somebody else was in the way (a deadlock): then what it has said does not count, and what lies there has to be
 * looked at again.
 */
export async function holdingLost<Result>(
  db: Database,
  path: string,
  work: (held: HeldLoss) => Promise<Result>,
): Promise<Result | undefined> {
  const holding = db.transaction().execute(async (transaction) => {
    const { rows } = await sql<{ checksum: Checksum | null; size: number | null }>`
      select encode(checksum, 'hex') as checksum, size from copies join files using (path)
      where place = ${LIBRARY} and path = ${path} and lost_at is not null for update of copies, files
    `.execute(transaction)
    const lost = rows[0]
    if (lost === undefined) return undefined
    return work({
      ...lost,
      restored: (by, size, now, sentFrom = null) => restore(transaction, path, size, by, now, sentFrom),
      quarantined: (place) => noteQuarantined(transaction, LIBRARY, path, place),
    })
  })
  return holding.catch((error: unknown) => {
    if (isDeadlock(error)) return undefined
    throw error
  })
}

async function restore(
  transaction: Database,
  path: string,
  size: number,
  by: string,
  now: Date,
  sentFrom: string | null,
): Promise<void> {
  const timestamp = sql`${now.toISOString()}::timestamptz`
  // In the same order as `declareLost`. Rows that an older server failed name no reason: what they wanted to store
  // never arrived.
  await sql`
    update backups set status = 'Completed', failure = null, sent_from = coalesce(${sentFrom}, sent_from)
    where file_path = ${path} and status = 'Failed' and failure is not null
  `.execute(transaction)
  // Of several photos that an older server has put in one place, this is one.
  await refute(transaction, [{ path, size }])
  await sql`
    update files set size = ${size}, stored_at = ${timestamp} where path = ${path}
  `.execute(transaction)
  await sql`
    update copies set wanted_since = null, lost_at = null, verified_at = null, recheck = false, copied_at = ${timestamp}
    where place = ${LIBRARY} and path = ${path}
  `.execute(transaction)
  await healFindings(transaction, LIBRARY, LOSSES, [path], by, now)
}

/**
 * Gives up those of the lost originals that no row refers to any more, since what they belonged to is another content
 * now: the catalogue forgets them, and their findings are closed.
 */
export async function forsake(db: Database, paths: readonly string[], now: Date): Promise<void> {
  const { rows } = await sql<{ path: string }>`
    delete from files
    where path = any(${paths}::text[])
      and exists (select from copies where place = ${LIBRARY} and copies.path = files.path and lost_at is not null)
      and not exists (select from backups where backups.file_path = files.path collate "default")
    returning path
  `.execute(db)
  const gone = rows.map((row) => row.path)
  if (gone.length === 0) return
  await sql`
    update findings set healed_at = ${now.toISOString()}::timestamptz, healed_by = 'another version of it from the phone'
    where path = any(${gone}::text[]) and kind = any(${LOSSES}::text[]) and healed_at is null
  `.execute(db)
}

/** Returns the paths of lost originals with that content, in order. */
export async function findLost(db: Database, checksum: Checksum): Promise<string[]> {
  const { rows } = await sql<{ path: string }>`
    select path from originals where checksum = decode(${checksum}, 'hex') and lost_at is not null order by path
  `.execute(db)
  return rows.map((row) => row.path)
}

/** A file that should have a certain content. */
export interface Twin {
  path: string
  isQuarantined: boolean
}

/**
 * Where the content of a lost original may be: paths of other originals, and places in quarantine, both relative to the
 * drive.
 */
export async function findTwins(db: Database, path: string, checksum: Checksum): Promise<Twin[]> {
  const { rows } = await sql<Twin>`
    select path, false as "isQuarantined" from originals
    where checksum = decode(${checksum}, 'hex') and lost_at is null and path <> ${path}
    union all
    select distinct quarantined, true from findings
    where place = ${LIBRARY} and found = ${checksum} and quarantined is not null
  `.execute(db)
  return rows
}
