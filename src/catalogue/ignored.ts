import { sql } from 'kysely'
import { BY_IGNORING, settleLosses } from './acceptance.ts'
import { lock } from './advisory-locks.ts'
import { inOrder } from './backups.ts'
import type { Database } from './connection.ts'
import { retryingDeadlocks } from './deadlock.ts'
import { type Offer, type OfferedFile, offeredAssets } from './offered.ts'
import { hasSameExportKey, haveExports, isFromThere, isIgnored, isIgnoredRow, isSameAsset } from './same-asset.ts'

/**
 * Marks files as ignored, and accepts the loss of those that the drive does not have any more. Returns the number
 * of new rows, one for each that was not ignored before, and whether there were such losses. What the list, which came
 * from `address`, does not say of a file is taken from what was announced, or backed up, under its path, there or with
 * its id.
 */
export async function ignore(
  db: Database,
  deviceId: string,
  address: string,
  files: readonly OfferedFile[],
  now: Date,
): Promise<{ count: number; acceptsLoss: boolean }> {
  const exports = haveExports(files)
  return retryingDeadlocks(() =>
    db.transaction().execute(async (transaction) => {
      await lock(transaction, 'ignoring')
      const { numAffectedRows } = await sql`
      with listed as materialized (
        ${offeredAssets({ deviceId, address, files }, { names: true, exports })}
      ), offered as materialized (
        select
          listed.key, listed.path, listed.name, listed.index, listed.address, coalesce(listed.id, known.asset_id) as id,
          ${exports ? sql`listed.export_key,` : sql``}
          coalesce(listed.created, known.created) as created, coalesce(listed.size, known.announced_size) as size
        from listed left join lateral (
          select backups.asset_id, backups.created, backups.announced_size
          from (select listed.*) as offered
            join backups on backups.asset_key = offered.key
            left join files on files.path = backups.file_path
          -- Whoever knows a photo's size and date, which the log tells, does not learn its id by ignoring it.
          where ${isSameAsset} and (${isFromThere} or backups.asset_id = offered.id)
          order by
            backups.status = 'Completed', backups.announced_from = ${address} desc nulls last,
            backups.timestamp desc nulls last, backups.id desc
          limit 1
        ) as known on true
      )
      insert into ignored_files (device_id, original_path, asset_id, file_name, timestamp, created, announced_size, ignored_from)
      select distinct on (key, id, undated)
        ${deviceId}, path, id, name, ${now.toISOString()}::timestamptz, created, size, address
      from offered, lateral (select case when id is null then created end as undated) as dated
      where not exists (
        select from ignored_files where ${isIgnored(exports)}
      )
      order by key, id, undated, index
    `.execute(transaction)
      const lost = await findLostOf(transaction, { deviceId, address, files })
      const acceptsLoss = await settleLosses(transaction, lost, isIgnoredRow, BY_IGNORING, now)
      return { count: Number(numAffectedRows ?? 0), acceptsLoss }
    }),
  )
}

/** The paths of the lost originals of what is ignored among these files. */
async function findLostOf(db: Database, offer: Offer): Promise<string[]> {
  const exports = haveExports(offer.files)
  const isIt = exports
    ? sql`(backups.asset_key = offered.key or ${hasSameExportKey})`
    : sql`backups.asset_key = offered.key`
  const { rows } = await sql<{ path: string }>`
    with offered as materialized (${offeredAssets(offer, { exports })}), known as materialized (
      -- By their keys alone: how many have failed PostgreSQL may not know yet. Each once, and what is asked of it.
      select
        device_id, original_path, asset_key, asset_id, created, announced_size, sent_from, announced_from, file_path, status
      from backups
      where id in (select backups.id from offered join backups on ${isIt})
    )
    select distinct files.path from known as backups join originals as files on files.path = backups.file_path
    where backups.status = 'Failed' and files.lost_at is not null and ${isIgnoredRow}
  `.execute(db)
  return rows.map(({ path }) => path)
}

/** Takes the mark away again, whoever has made it: asking loses nothing. Returns how many files had it. */
export async function unignore(db: Database, deviceId: string, files: readonly OfferedFile[]): Promise<number> {
  const exports = haveExports(files)
  const { rows } = await sql<{ count: number }>`
    with offered as materialized (${offeredAssets({ deviceId, address: null, files }, { exports })}), removed as (
      delete from ignored_files using offered
      where ${isIgnored(exports)}
        -- Who sends back what /photos/ignored lists has its number for an id.
        or (ignored_files.asset_key = offered.key and ignored_files.id::text = offered.id)
      returning ignored_files.asset_key, ignored_files.asset_id
    )
    select count(distinct (asset_key, asset_id)) as count from removed
  `.execute(db)
  return rows[0]?.count ?? 0
}

export interface IgnoredFile {
  id: number
  file_name: string
  original_path: string
  asset_id: string | null
  device_id: string | null
  timestamp: Date | null
}

/** Returns the ids of what is ignored, newest first; of one device, or of all. */
export async function listIgnoredIds(db: Database, deviceId: string | undefined): Promise<number[]> {
  let query = db
    .selectFrom('ignored_files')
    .select('id')
    .orderBy('timestamp', (order) => order.desc().nullsLast())
    .orderBy('id', 'desc')
  if (deviceId !== undefined) query = query.where(sql<boolean>`coalesce(device_id, 'unknown') = ${deviceId}`)
  return (await query.execute()).map(({ id }) => id)
}

/**
 * Returns the rows with these ids in this order; those that are gone are left out. The phone's own ids, which prove
 * whose asset it is, are told only to the address that has ignored it.
 */
export async function readIgnored(db: Database, address: string, ids: readonly number[]): Promise<IgnoredFile[]> {
  const rows = await db
    .selectFrom('ignored_files')
    .select(['id', 'file_name', 'original_path', 'device_id', 'timestamp'])
    .select(sql<string | null>`case when ignored_from = ${address} then asset_id end`.as('asset_id'))
    .where(sql<boolean>`id = any(${ids}::bigint[])`)
    .execute()
  return inOrder(ids, rows)
}
