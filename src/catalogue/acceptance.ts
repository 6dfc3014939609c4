import { type RawBuilder, sql } from 'kysely'
import { AppError } from '../errors.ts'
import type { Database } from './connection.ts'
import { retryingDeadlocks } from './deadlock.ts'
import { type Finding, findFindings } from './findings.ts'
import { isElsewhere, LIBRARY } from './places.ts'
import type { FindingKind } from './tables.ts'

/** Findings as a person names them; one that fits any of these is meant. */
export interface Named {
  ids: readonly number[]
  paths: readonly string[]
  kinds: readonly FindingKind[]
}

/** Why a loss was accepted: goes on after "its loss". */
const BY_A_PERSON = 'has been accepted'
export const BY_IGNORING = 'is accepted, since it is ignored'

const LOSSES = sql`('missing', 'corrupt', 'unreadable')`

/**
 * Accepts open findings: they are no problem any more, for as long as they last. What comes to the same path after they
 * were over is a new one. The loss of an original is settled (`settleLosses`). All or none: throws `not_found` if one
 * of `ids` or `paths` is no open finding. Returns the accepted ones.
 */
export async function acceptFindings(db: Database, named: Named, now: Date): Promise<Finding[]> {
  return retryingDeadlocks(() =>
    db.transaction().execute(async (transaction) => {
      const open = await findOpen(transaction, named)
      const lost = open.filter(({ place, isLoss }) => place === LIBRARY && isLoss).map(({ path }) => path)
      await settleLosses(transaction, lost, sql`true`, BY_A_PERSON, now)
      await sql`
        update findings set accepted_at = ${now.toISOString()}::timestamptz
        where id = any(${open.map(({ id }) => id)}::bigint[]) and healed_at is null
      `.execute(transaction)
      return findFindings(
        transaction,
        open.map(({ id }) => id),
      )
    }),
  )
}

async function findOpen(
  db: Database,
  { ids, paths, kinds }: Named,
): Promise<(Pick<Finding, 'id' | 'place' | 'path'> & { isLoss: boolean })[]> {
  const { rows } = await sql<Pick<Finding, 'id' | 'place' | 'path'> & { isLoss: boolean }>`
    select id, place, path, kind in ${LOSSES} as "isLoss" from findings
    where healed_at is null and accepted_at is null
      and (id = any(${ids}::bigint[]) or path = any(${paths}::text[]) or kind = any(${kinds}::text[]))
    order by id
  `.execute(db)
  const unknownId = ids.find((id) => !rows.some((row) => row.id === id))
  const unknownPath = paths.find((path) => !rows.some((row) => row.path === path))
  const unknown = unknownId === undefined ? unknownPath : `number ${unknownId}`
  if (unknown === undefined) return rows
  throw new AppError(
    'not_found',
    `There is no open finding ${unknown === unknownPath ? `about ${unknown}` : `with the ${unknown}`}; nothing was accepted. Expected the number or path of one, as \`verify\`, \`accept\` and /library/health list them.`,
  )
}

/**
 * Lets the `Failed` rows of lost originals go that `isLetGo` (a condition on `backups`) is true for: they refer to no
 * original any more, `why` in their words, and are `Failed` still, so nothing ever takes them for backed up. An
 * original that no row refers to then is given up, and the findings about it and its copy are closed. One that may come
 * back by itself, since it lies unreadable in its place or has a copy elsewhere, stays lost in the catalogue, and its
 * finding is accepted. Returns whether any row was let go.
 */
export async function settleLosses(
  transaction: Database,
  paths: readonly string[],
  isLetGo: RawBuilder<unknown>,
  why: string,
  now: Date,
): Promise<boolean> {
  if (paths.length === 0) return false
  const timestamp = sql`${now.toISOString()}::timestamptz`
  const { rows: held } = await sql<{ path: string }>`
    select path from copies
    where place = ${LIBRARY} and path = any(${paths}::text[]) and lost_at is not null order by path for update
  `.execute(transaction)
  const lost = held.map(({ path }) => path)
  const { numAffectedRows: freed } = await sql`
    update backups set file_path = null, failure = ${`The drive does not have the file any more, and its loss ${why}.`}
    where file_path = any(${lost}::text[]) and status = 'Failed' and ${isLetGo}
  `.execute(transaction)
  const { rows: gone } = await sql<{ path: string }>`
    delete from files
    where path = any(${lost}::text[])
      and not exists (select from backups where backups.file_path = files.path collate "default")
      and not exists (select from copies where ${isElsewhere} and copies.path = files.path)
      and exists (
        select from findings
        where findings.place = ${LIBRARY} and findings.path = files.path and findings.healed_at is null
          and (findings.kind = 'missing' or (findings.kind = 'corrupt' and findings.quarantined is not null))
      )
    returning path
  `.execute(transaction)
  const originals = gone.map(({ path }) => path)
  await sql`
    update findings set
      accepted_at = ${timestamp},
      healed_at = case when path = any(${originals}::text[]) then ${timestamp} end,
      healed_by = case when path = any(${originals}::text[]) then ${`a person: its loss ${why}`} end
    where place = ${LIBRARY} and path = any(${lost}::text[]) and kind in ${LOSSES} and healed_at is null
      and not exists (select from backups where backups.file_path = findings.path collate "default")
  `.execute(transaction)
  // No copy of what is given up will ever be made.
  await sql`
    update findings set
      accepted_at = coalesce(accepted_at, ${timestamp}), healed_at = ${timestamp}, healed_by = ${`a person: its loss ${why}`}
    where place <> ${LIBRARY} and path = any(${originals}::text[]) and kind in ${LOSSES} and healed_at is null
  `.execute(transaction)
  return (freed ?? 0n) > 0n
}
