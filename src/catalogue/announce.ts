import { sql } from 'kysely'
import type { Checksum } from '../media/checksum.ts'
import type { MediaKind } from '../media/media-type.ts'
import type { Database } from './connection.ts'
import { forsake } from './losses.ts'

/** A file in a phone's list. Times are ms since 1970; what the phone does not know is null. */
export interface OfferedFile {
  path: string
  id: string | null
  name: string
  kind: MediaKind
  size: number | null
  created: number | null
  modified: number | null
  checksum: Checksum | null
}

const DAY_MS = 24 * 60 * 60 * 1000

/**
 * Sorts a phone's list, sent from `address`: returns the indexes of the files it has been told to ignore, of those that are backed
 * up (and not ignored), and of those announced before in just the same way. One statement, whose cost grows with the list. See "Which asset is it?" in docs/design.md.
 */
export async function classify(
  db: Database,
  deviceId: string,
  address: string,
  files: readonly OfferedFile[],
): Promise<{ ignored: Set<number>; backedUp: Set<number>; announced: Set<number> }> {
  const { rows } = await sql<{ ignored: number[]; backed_up: number[]; announced: number[] }>`
    with offered as materialized (
      select iclood_asset_key(${deviceId}, path) as key, offered.*, decode(checksum_hex, 'hex') as checksum
      from ${offeredRows(files)}
    ), ignored as (
      select distinct index from offered join ignored_files on ignored_files.asset_key = offered.key
      where ignored_files.asset_id is null or offered.id is null or ignored_files.asset_id = offered.id
    ), backed_up as (
      select distinct index
      from offered
        join backups on backups.asset_key = offered.key
        left join files on files.path = backups.file_path
      where backups.status = 'Completed' and case
        when offered.checksum is not null and files.checksum is not null then offered.checksum = files.checksum
        else
          (backups.asset_id is null or offered.id is null or backups.asset_id = offered.id)
          and (
            backups.asset_id is not null or offered.created is null
            or (backups.created is null and files.captured_at is null)
            or abs(offered.created - backups.created) <= ${DAY_MS}
            or abs(offered.created - extract(epoch from files.captured_at) * 1000) <= ${DAY_MS}
          )
          and (offered.size is null or offered.size = backups.file_size or offered.size = backups.announced_size)
          and (offered.modified is null or backups.modified is null or offered.modified = backups.modified)
        end
    ), announced as (
      select distinct index
      from offered join backups on backups.asset_key = offered.key
      where backups.status = 'Pending' and backups.asset_id is not distinct from offered.id
        and (
          backups.original_path, backups.announced_size, backups.created, backups.modified, backups.announced_from
        ) is not distinct from (offered.path, offered.size, offered.created, offered.modified, ${address})
    )
    select
      array(select index from announced) as announced,
      array(select index from ignored) as ignored,
      array(select index from backed_up except select index from ignored) as backed_up
  `.execute(db)
  const row = rows[0]
  return { ignored: new Set(row?.ignored), backedUp: new Set(row?.backed_up), announced: new Set(row?.announced) }
}

/**
 * Remembers files that a phone is about to be asked for: a `Pending` row for each, or what is new about one announced before. A
 * `Failed` row keeps its status and reason until the file has arrived. `address` is where the list came from. Returns the ids of
 * the `Failed` rows that were changed.
 */
export async function announce(
  db: Database,
  deviceId: string,
  address: string,
  files: readonly OfferedFile[],
  now: Date,
): Promise<number[]> {
  const timestamp = sql`${now.toISOString()}::timestamptz`
  return db.transaction().execute(async (transaction) => {
    // One at a time: asking whether a row is there and making it is cheaper for all rows together than for each.
    await sql`select pg_advisory_xact_lock(7236844, 4)`.execute(transaction)
    const { rows } = await sql<{ id: number }>`
      with offered as materialized (
        select distinct on (key, id) keyed.key, offered.*
        from ${offeredRows(files)}, lateral (select iclood_asset_key(${deviceId}, path) as key) as keyed
        order by key, id, index desc
      ), known as (
        update backups set
          original_path = offered.path, file_name = offered.name, created = offered.created, modified = offered.modified,
          announced_size = offered.size, announced_from = ${address},
          timestamp = case backups.status when 'Pending' then ${timestamp} else backups.timestamp end
        from offered
        where backups.asset_key = offered.key and backups.status <> 'Completed'
          and backups.asset_id is not distinct from offered.id
        returning offered.index, backups.id, backups.status
      ), added as (
        insert into backups (
          device_id, original_path, asset_id, file_name, file_type, file_size, announced_size, created, modified,
          announced_from, timestamp, status
        )
        select ${deviceId}, path, id, name, kind, size, size, created, modified, ${address}, ${timestamp}, 'Pending'
        from offered
        where index not in (select index from known)
      )
      select id from known where status = 'Failed'
    `.execute(transaction)
    return rows.map(({ id }) => id)
  })
}

/**
 * Records files whose content the library has already, each with its path there, as backed up by this device. Returns the ids of the
 * rows that were changed or added, the paths of lost originals that these rows referred to, and the indexes of files whose original has been
 * lost since it was found: of these nothing is recorded.
 */
export async function recordKnownContent(
  db: Database,
  deviceId: string,
  address: string,
  files: readonly (OfferedFile & { libraryPath: string })[],
  now: Date,
): Promise<{ backups: number[]; left: string[]; lost: Set<number> }> {
  const timestamp = sql`${now.toISOString()}::timestamptz`
  const paths = [...new Set(files.map((file) => file.libraryPath))]
  return db.transaction().execute(async (transaction) => {
    // One at a time: a phone that asks twice at once must not get two rows.
    await sql`select pg_advisory_xact_lock(7236844, 3)`.execute(transaction)
    // Nobody may declare them lost until the rows that rely on them are there to be told.
    const { rows: held } = await sql<{ path: string }>`
      select path from files where path = any(${paths}::text[]) and missing_at is null order by path for share
    `.execute(transaction)
    const { rows } = await sql<{ id: number; left: string | null }>`
      with offered as materialized (
        select distinct on (key, id)
          offered.*, keyed.key, files.size as stored_size, files.media_type,
          case split_part(files.media_type, '/', 1) when 'video' then 'video' when 'image' then 'photo' else kind end as stored_kind
        from ${offeredRows(files)}
          join files on files.path = library_path and files.missing_at is null,
          lateral (select iclood_asset_key(${deviceId}, offered.path) as key) as keyed
        order by key, id, index desc
      ), completed as (
        update backups set
          file_path = library_path, file_size = stored_size, file_type = stored_kind, mime_type = media_type,
          status = 'Completed', failure = null, timestamp = ${timestamp}, created = offered.created,
          modified = offered.modified, announced_size = offered.size
        from offered join backups as before on before.asset_key = offered.key
          and before.status <> 'Completed' and before.asset_id is not distinct from offered.id
        where backups.id = before.id and backups.status <> 'Completed'
        returning index, backups.id, nullif(before.file_path, library_path) as "left"
      ), added as (
        insert into backups (
          device_id, original_path, asset_id, file_name, file_type, file_size, announced_size, created, modified,
          announced_from, timestamp, status, file_path, mime_type
        )
        select
          ${deviceId}, path, id, name, stored_kind, stored_size, size, created, modified, ${address}, ${timestamp},
          'Completed', library_path, media_type
        from offered
        where index not in (select index from completed) and not exists (
          select from backups
          where backups.asset_key = offered.key and backups.asset_id is not distinct from offered.id
            and backups.status = 'Completed' and backups.file_path = library_path
        )
        returning id
      )
      select id, "left" from completed union all select id, null from added
    `.execute(transaction)
    const left = rows.flatMap((row) => row.left ?? [])
    if (left.length > 0) await forsake(transaction, left, now)
    const isHeld = new Set(held.map((row) => row.path))
    const lost = new Set(files.flatMap((file, index) => (isHeld.has(file.libraryPath) ? [] : index)))
    return { backups: rows.map(({ id }) => id), left, lost }
  })
}

/** The list as rows of `offered`, with its indexes. One JSON text is quicker made than eight arrays, and is made all at once. */
export function offeredRows(files: readonly (OfferedFile & { libraryPath?: string })[]) {
  const rows = files.map(({ checksum, libraryPath, ...file }, index) => {
    return { index, checksum_hex: checksum, library_path: libraryPath, ...file }
  })
  return sql`json_to_recordset(${JSON.stringify(rows)}::json) as offered (
    index integer, path text, id text, name text, kind text, size bigint, created float8, modified float8, checksum_hex text,
    library_path text
  )`
}

/** A failed upload, as far as it is known which asset it was to be: by path, or (its fields never arrived) by name alone. */
export interface FailedUpload {
  deviceId: string | null
  path: string | null
  assetId: string | null
  fileName: string | null
  address: string
}

/**
 * Marks the announced row of a failed upload as `Failed`, with the reason, and returns its id. Does nothing if no announced row is
 * certain to be meant: without a path that takes the only one which was announced from that address under that name.
 */
export async function markFailed(
  db: Database,
  upload: FailedUpload,
  reason: string,
  now: Date,
): Promise<number | undefined> {
  const meant =
    upload.path !== null
      ? sql`
        select id from backups
        where asset_key = iclood_asset_key(${upload.deviceId}::text, ${upload.path}::text) and status <> 'Completed'
          and (${upload.assetId}::text is null or asset_id is null or asset_id = ${upload.assetId}::text)
        order by asset_id is not distinct from ${upload.assetId}::text desc, announced_from = ${upload.address} desc, id desc
        limit 1`
      : sql`
        select min(id) from backups
        where status <> 'Completed' and announced_from = ${upload.address} and file_name = ${upload.fileName}::text
        having count(*) = 1`
  // Rows that an older server failed name files that never arrived: such a row must not look like one whose original was lost.
  const { rows } = await sql<{ id: number }>`
    update backups set
      status = 'Failed', failure = ${reason}, timestamp = ${now.toISOString()}::timestamptz,
      file_path = case when status = 'Failed' and failure is null then null else file_path end
    where id = (${meant})
    returning id
  `.execute(db)
  return rows[0]?.id
}
