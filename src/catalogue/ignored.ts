import { sql } from 'kysely'
import type { Database } from './connection.ts'

/** A file that a person does not want backed up. */
export interface IgnoredAsset {
  path: string
  id: string | null
  name: string
}

/** Marks files as ignored; returns the ids of the new rows: one for each that was not ignored before. */
export async function ignore(
  db: Database,
  deviceId: string,
  files: readonly IgnoredAsset[],
  now: Date,
): Promise<number[]> {
  return db.transaction().execute(async (transaction) => {
    // One at a time: old households have duplicates, so no unique index can keep two requests from marking one file twice.
    await sql`select pg_advisory_xact_lock(7236844, 2)`.execute(transaction)
    const { rows } = await sql<{ id: number }>`
      insert into ignored_files (device_id, original_path, asset_id, file_name, timestamp)
      select distinct on (key, id) ${deviceId}, path, id, name, ${now.toISOString()}::timestamptz
      from ${assetRows(deviceId, files)}
      where not exists (
        select from ignored_files
        where ignored_files.asset_key = key and (ignored_files.asset_id is null or ignored_files.asset_id = offered.id)
      )
      order by key, id, position
      returning id
    `.execute(transaction)
    return rows.map(({ id }) => id)
  })
}

/** Takes the mark away again; returns the ids of the rows that had it, and how many files those were. */
export async function unignore(
  db: Database,
  deviceId: string,
  files: readonly IgnoredAsset[],
): Promise<{ ids: number[]; count: number }> {
  const { rows } = await sql<{ ids: number[]; count: number }>`
    with removed as (
      delete from ignored_files using ${assetRows(deviceId, files)}
      where ignored_files.asset_key = key
        and (ignored_files.asset_id is null or offered.id is null or ignored_files.asset_id = offered.id)
      returning ignored_files.id, ignored_files.asset_key, ignored_files.asset_id
    )
    select count(distinct (asset_key, asset_id)) as count, coalesce(json_agg(id), '[]') as ids from removed
  `.execute(db)
  return rows[0] ?? { ids: [], count: 0 }
}

function assetRows(deviceId: string, files: readonly IgnoredAsset[]) {
  return sql`
    unnest(
      ${files.map((file) => file.path)}::text[],
      ${files.map((file) => file.id)}::text[],
      ${files.map((file) => file.name)}::text[]
    ) with ordinality as offered (path, id, name, position),
    lateral (select iclood_asset_key(${deviceId}, path) as key) as keyed`
}

export interface IgnoredFile {
  id: number
  file_name: string
  original_path: string
  asset_id: string | null
  device_id: string | null
  timestamp: Date | null
}

/** Returns what is ignored, newest first; of one device, or of all. */
export async function listIgnored(db: Database, deviceId: string | undefined): Promise<IgnoredFile[]> {
  let query = db
    .selectFrom('ignored_files')
    .select(['id', 'file_name', 'original_path', 'asset_id', 'device_id', 'timestamp'])
    .orderBy('timestamp', (order) => order.desc().nullsLast())
    .orderBy('id', 'desc')
  if (deviceId !== undefined) query = query.where(sql<boolean>`coalesce(device_id, 'unknown') = ${deviceId}`)
  return query.execute()
}
