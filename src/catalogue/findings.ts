import { sql } from 'kysely'
import type { Database } from './connection.ts'
import { LIBRARY, type PlaceId } from './places.ts'
import type { CopyPlace, FindingKind } from './tables.ts'

/** Something that verification has found wrong. */
export interface Finding {
  id: number
  place: PlaceId
  /** What kind of place that is. */
  copy: CopyPlace
  kind: FindingKind
  /** Relative to its library. */
  path: string
  /**
   * Checksums, as far as they matter and are known; of what is unreadable or unknown because it is no file, `found`
   * says what it is: "2024/07/IMG.JPG is a pipe", "a pipe".
   */
  expected: string | null
  found: string | null
  /** Where the corrupt file lies now, relative to its drive. */
  quarantined: string | null
  found_at: Date
  /** Null while it is open. */
  healed_at: Date | null
  /** What healed it, in words that go on after "healed by". */
  healed_by: string | null
  /** When a person has accepted it. */
  accepted_at: Date | null
}

export type NewFinding = Pick<Finding, 'place' | 'kind' | 'path' | 'expected' | 'found'>

/** A finding's row, with the kind of its place. */
const COPY = sql<CopyPlace>`case when place = ${LIBRARY} then 'library' else 'mirror' end`

/**
 * Opens a finding and returns its id: that of the one which is open already for that place, path and kind, if there is
 * one, brought up to date.
 */
export async function recordFinding(db: Database, finding: NewFinding, now: Date): Promise<number> {
  const [id] = await recordFindings(db, [finding], now)
  if (id === undefined) throw new Error('a finding was not recorded')
  return id
}

/**
 * The same for several, of which no two are about the same; returns their ids in no order. A SHA256SUMS of the library
 * that disagrees is compared and mended by whoever keeps it.
 */
export async function recordFindings(db: Database, findings: readonly NewFinding[], now: Date): Promise<number[]> {
  const { rows } = await sql<{ id: number }>`
    with found as materialized (
      select * from unnest(
        ${findings.map(({ place }) => place)}::smallint[],
        ${findings.map(({ kind }) => kind)}::text[],
        ${findings.map(({ path }) => path)}::text[],
        ${findings.map(({ expected }) => expected)}::text[],
        ${findings.map(({ found }) => found)}::text[]
      ) as found (place, kind, path, expected, found)
    ), told as (
      insert into outbox (what, key)
      select 'sums', regexp_replace(path, '/[^/]*$', '') from found where kind = 'sums' and place = ${LIBRARY}
    )
    insert into findings (place, kind, path, expected, found, found_at)
    select *, ${now.toISOString()}::timestamptz from found
    on conflict (place, path, kind) where healed_at is null do update set
      expected = excluded.expected, found = excluded.found,
      accepted_at = case
        when (findings.expected, findings.found) is not distinct from (excluded.expected, excluded.found)
        then findings.accepted_at
      end
    returning id
  `.execute(db)
  return rows.map((row) => row.id)
}

/** Says where the file of an open finding was moved to. */
export async function noteQuarantined(db: Database, place: PlaceId, path: string, quarantined: string): Promise<void> {
  await db
    .updateTable('findings')
    .set({ quarantined })
    .where('place', '=', place)
    .where('path', '=', path)
    .where('kind', 'in', ['corrupt', 'unreadable'])
    .where('healed_at', 'is', null)
    .execute()
}

/**
 * Closes the open findings of these kinds under these paths; `by` goes on after "healed by". Returns how many they
 * were.
 */
export async function healFindings(
  db: Database,
  place: PlaceId,
  kinds: readonly FindingKind[],
  paths: readonly string[],
  by: string,
  now: Date,
): Promise<number> {
  const { numAffectedRows } = await sql`
    update findings set healed_at = ${now.toISOString()}::timestamptz, healed_by = ${by}
    where place = ${place} and path = any(${paths}::text[]) and kind = any(${kinds}::text[]) and healed_at is null
  `.execute(db)
  return Number(numAffectedRows ?? 0)
}

/** Returns open findings that nobody has accepted, oldest first. */
export async function listOpenFindings(db: Database, limit: number): Promise<Finding[]> {
  const { rows } = await sql<Finding>`
    select *, ${COPY} as copy from findings
    where healed_at is null and accepted_at is null order by id limit ${limit}
  `.execute(db)
  return rows
}

/**
 * Returns the paths of open findings, accepted or not, of a kind that lie within `under` (a folder, a file, or `''`:
 * everywhere), in order.
 */
export async function listOpenPaths(db: Database, place: PlaceId, kind: FindingKind, under: string): Promise<string[]> {
  const { rows } = await sql<{ path: string }>`
    select path from findings
    where place = ${place} and kind = ${kind} and healed_at is null
      and (${under} = '' or path = ${under} or starts_with(path, ${`${under}/`}))
    order by path
  `.execute(db)
  return rows.map((row) => row.path)
}

/** Returns those findings, in the order of their paths. */
export async function findFindings(db: Database, ids: readonly number[]): Promise<Finding[]> {
  const { rows } = await sql<Finding>`
    select *, ${COPY} as copy from findings where id = any(${ids}::bigint[]) order by path, place, kind, id
  `.execute(db)
  return rows
}

/** Open findings of one kind that nobody has accepted. */
export interface FindingCount {
  copy: CopyPlace
  kind: FindingKind
  count: number
  /** How many of them have led to a file in quarantine. */
  quarantined: number
  /** When the oldest of them was found. */
  since: Date
  /** How many of that kind have ever been found: grows with each new one, also while others are healed. */
  found: number
}

/** How many findings are open, by copy and kind; none of those that there are none of. */
export async function countOpenFindings(db: Database): Promise<FindingCount[]> {
  const isOpen = sql`healed_at is null and accepted_at is null`
  const { rows } = await sql<FindingCount>`
    select
      ${COPY} as copy, kind, count(*) filter (where ${isOpen}) as count, count(quarantined) filter (where ${isOpen}) as quarantined,
      min(found_at) filter (where ${isOpen}) as since, count(*) as found
    from findings group by 1, kind having bool_or(${isOpen}) order by 1, kind
  `.execute(db)
  return rows
}

/** Says that people have been told of the open findings of a kind. */
export async function markTold(db: Database, copy: CopyPlace, kind: FindingKind): Promise<void> {
  await sql`
    update findings set is_told = true where ${COPY} = ${copy} and kind = ${kind} and healed_at is null and not is_told
  `.execute(db)
}

/** Damage of one kind that is over. */
export interface HealedCount {
  copy: CopyPlace
  kind: FindingKind
  /** How often that was ever so; what was accepted was not healed. */
  healed: number
  /** How much of it nobody was told of, since it was healed at once: ever, and lately. */
  untold: number
  lately: number
  /** When the last of these was healed; null without any. */
  last: Date | null
}

/** What has been healed of originals and their copies, by copy and kind; lately: since `since`. */
export async function countHealed(db: Database, since: Date): Promise<HealedCount[]> {
  const isLate = sql`not is_told and healed_at >= ${since.toISOString()}::timestamptz`
  const { rows } = await sql<HealedCount>`
    select
      ${COPY} as copy, kind, count(*) as healed, count(*) filter (where not is_told) as untold,
      count(*) filter (where ${isLate}) as lately, max(healed_at) filter (where ${isLate}) as last
    from findings
    where healed_at is not null and accepted_at is null and kind in ('missing', 'corrupt', 'unreadable')
    group by 1, kind order by 1, kind
  `.execute(db)
  return rows
}
