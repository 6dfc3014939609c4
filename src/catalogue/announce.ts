import { sql } from 'kysely'
import { ASSETS_OF_A_PATH, ROWS_OF_AN_ORIGINAL } from '../base/budgets.ts'
import { lock } from './advisory-locks.ts'
import type { Database } from './connection.ts'
import { forsake } from './losses.ts'
import { type Offer, type OfferedFile, offeredAssets } from './offered.ts'
import { LIBRARY } from './places.ts'
import { hasSameExportKey, haveExports, isFromThere, isNobodys, isSameAsset, mayBeExported } from './same-asset.ts'

/**
 * Remembers files that a phone is about to be asked for: a `Pending` row for each, or what is new about one announced
 * before. A `Failed` row keeps its status and reason until the file has arrived. What was announced for another export
 * of the same asset goes. `address` is where the list came from; where it has announced files of this device before
 * (`isKnown`), none is added to a path that has its bound of them.
 */
export async function announce(
  db: Database,
  deviceId: string,
  address: string,
  files: readonly OfferedFile[],
  now: Date,
  isKnown = true,
): Promise<void> {
  const timestamp = sql`${now.toISOString()}::timestamptz`
  await db.transaction().execute(async (transaction) => {
    await lock(transaction, 'announcing')
    if (haveExports(files)) await supersedeExports(transaction, { deviceId, address, files })
    await sql`
      with offered as materialized (
        select distinct on (key, id, undated) keyed.*
        from (
          select assets.*, case when id is null then created end as undated
          from (${offeredAssets({ deviceId, address, files }, { names: true })}) as assets
        ) as keyed
        order by key, id, undated, index desc
      ), known as (
        update backups set
          original_path = offered.path, file_name = offered.name, created = offered.created,
          modified = offered.modified, announced_size = offered.size, announced_from = ${address},
          timestamp = case backups.status when 'Pending' then ${timestamp} else backups.timestamp end
        from offered
        where backups.asset_key = offered.key and backups.status <> 'Completed' and ${isAnnouncedAsset}
        returning offered.index
      )
      insert into backups (
        device_id, original_path, asset_id, file_name, file_type, file_size, announced_size, created, modified,
        announced_from, timestamp, status
      )
      select ${deviceId}, path, id, name, kind, size, size, created, modified, ${address}, ${timestamp}, 'Pending'
      from ${isKnown ? withRoom(address) : sql`offered where index not in (select index from known)`}
    `.execute(transaction)
  })
}

/**
 * Whether an announcement is of just the asset that is offered: without ids, that of just that date, and from the same
 * address. Otherwise who announces another phone's path would take its place there. What is nobody's has no place yet,
 * and becomes its.
 */
const isAnnouncedAsset = sql`(
  backups.asset_id is not distinct from offered.id
  and (
    offered.id is not null
    or (backups.created is not distinct from offered.created and (${isFromThere} or ${isNobodys}))
  )
)`

/** The new ones among `offered`, of each path as many as there may be from one address. */
const withRoom = (address: string) => sql`(
    select offered.*, row_number() over (partition by key order by index desc) as place
    from offered where index not in (select index from known)
  ) as offered
  where place + (
    select count(*) from (
      select from backups
      where backups.asset_key = offered.key and backups.status <> 'Completed' and backups.announced_from = ${address}
      limit ${sql.lit(ASSETS_OF_A_PATH)}
    ) as waiting
  ) <= ${sql.lit(ASSETS_OF_A_PATH)}`

/** Removes what waits for other exports of these assets. */
async function supersedeExports(transaction: Database, offer: Offer): Promise<void> {
  const exported = { ...offer, files: offer.files.filter(mayBeExported) }
  await sql`
    with offered as materialized (${offeredAssets(exported, { exports: true })})
    delete from backups using offered
    where ${hasSameExportKey}
      and backups.asset_key <> offered.key and backups.status <> 'Completed' and backups.file_path is null
  `.execute(transaction)
}

/**
 * Records files whose content the library has already, each with its path there, as backed up by this device, unless
 * lists have made too many rows of that content: then each list asks anew. Returns the indexes of files whose original
 * has been lost since it was found: of these nothing is recorded.
 */
export async function recordKnownContent(
  db: Database,
  deviceId: string,
  address: string,
  files: readonly (OfferedFile & { libraryPath: string })[],
  now: Date,
): Promise<Set<number>> {
  const timestamp = sql`${now.toISOString()}::timestamptz`
  const places = files.map((file) => file.libraryPath)
  const paths = [...new Set(places)]
  return db.transaction().execute(async (transaction) => {
    await lock(transaction, 'recordingKnown')
    // Nobody may declare them lost until the rows that rely on them are there to be told.
    const { rows: held } = await sql<{ path: string }>`
      select path from copies
      where place = ${LIBRARY} and path = any(${paths}::text[]) and lost_at is null order by path for share
    `.execute(transaction)
    const { rows } = await sql<{ left: string }>`
      with offered as materialized (
        select distinct on (key, id, case when id is null then offered.created end)
          offered.*, files.size as stored_size, files.media_type,
          case split_part(files.media_type, '/', 1)
            when 'video' then 'video' when 'image' then 'photo' else kind
          end as stored_kind
        from (${offeredAssets({ deviceId, address, files }, { names: true, places })}) as offered
          join originals as files on files.path = library_path and files.lost_at is null
        order by key, id, case when id is null then offered.created end, index desc
      ), completed as (
        update backups set
          file_path = library_path, file_size = stored_size, file_type = stored_kind, mime_type = media_type,
          status = 'Completed', failure = null, timestamp = ${timestamp}, created = offered.created,
          modified = offered.modified, announced_size = offered.size, sent_from = ${address}, is_identified = false
        from offered join backups as before on before.asset_key = offered.key and before.status <> 'Completed'
        where backups.id = before.id and backups.status <> 'Completed' and ${isAnnouncedAsset}
        returning index, nullif(before.file_path, library_path) as "left"
      ), added as (
        insert into backups (
          device_id, original_path, asset_id, file_name, file_type, file_size, announced_size, created, modified,
          announced_from, sent_from, timestamp, status, file_path, mime_type
        )
        select
          ${deviceId}, path, id, name, stored_kind, stored_size, size, created, modified, ${address}, ${address}, ${timestamp},
          'Completed', library_path, media_type
        from (
          select offered.*, row_number() over (partition by library_path) as place
          from offered where index not in (select index from completed)
        ) as offered
        where not exists (
          select from backups
          where backups.asset_key = offered.key and backups.asset_id is not distinct from offered.id
            and backups.status = 'Completed' and backups.file_path = library_path
        ) and place + (
          select count(*) from (
            select from backups where backups.file_path = library_path limit ${sql.lit(ROWS_OF_AN_ORIGINAL)}
          ) as there
        ) <= ${sql.lit(ROWS_OF_AN_ORIGINAL)}
      )
      select "left" from completed where "left" is not null
    `.execute(transaction)
    if (rows.length > 0) {
      await forsake(
        transaction,
        rows.map((row) => row.left),
        now,
      )
    }
    const isHeld = new Set(held.map((row) => row.path))
    return new Set(files.flatMap((file, index) => (isHeld.has(file.libraryPath) ? [] : index)))
  })
}

/**
 * A failed upload, as far as it is known which asset it was to be: by path, or (its fields never arrived) by name
 * alone.
 */
export interface FailedUpload {
  deviceId: string | null
  path: string | null
  assetId: string | null
  /** ms since 1970. */
  created: number | null
  fileName: string | null
  address: string
}

/**
 * Marks the announced row of a failed upload as `Failed`, with the reason. Does nothing if no
 * announced row is certain to be meant: without a path that takes the only one which was announced from that address
 * under that name.
 */
export async function markFailed(db: Database, upload: FailedUpload, reason: string, now: Date): Promise<void> {
  const meant =
    upload.path !== null
      ? sql`
        select backups.id
        from (
            select
              ${upload.assetId}::text as id, ${upload.created}::float8 as created, null::bigint as size,
              null::float8 as taken, ${upload.address}::text as address
          ) as offered,
          backups left join files on files.path = backups.file_path
        where asset_key = iclood_asset_key(${upload.deviceId}::text, ${upload.path}::text) and status <> 'Completed'
          and ${isSameAsset}
        order by
          backups.asset_id is not distinct from offered.id desc, announced_from = ${upload.address} desc,
          backups.id desc
        limit 1`
      : sql`
        select min(id) from backups
        where status <> 'Completed' and announced_from = ${upload.address} and file_name = ${upload.fileName}::text
        having count(*) = 1`
  // Rows that an older server failed name files that never arrived: such a row must not look like one whose original
  // was lost.
  await sql`
    update backups set
      status = 'Failed', failure = ${reason}, timestamp = ${now.toISOString()}::timestamptz,
      file_path = case when status = 'Failed' and failure is null then null else file_path end
    where id = (${meant})
  `.execute(db)
}
