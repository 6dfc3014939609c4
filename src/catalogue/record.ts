import { sql } from 'kysely'
import type { Checksum } from '../media/checksum.ts'
import type { MediaKind } from '../media/media-type.ts'
import { batched } from './batch.ts'
import type { Database } from './connection.ts'
import { retryingDeadlocks } from './deadlock.ts'

/** An original that lies durably on the drive, and the asset that it is. */
export interface Completion {
  /** The row that it completes or brings up to date; null adds a row. */
  rowId: number | null
  /** A row announced for the same asset, which `rowId` makes superfluous. */
  supersededId: number | null
  deviceId: string
  path: string | null
  assetId: string | null
  created: number | null
  modified: number | null
  announcedSize: number | null
  announcedFrom: string | null
  fileName: string
  kind: MediaKind
  timestamp: Date
  file: {
    path: string
    /** The path under which the catalogue has had this content so far, if its file is gone and `path` replaces it. */
    replaces: string | null
    /** Whether `files` learns of it now. */
    isNew: boolean
    /** Whether it was put back under a path that `files` has. */
    isRestored: boolean
    checksum: Checksum
    size: number
    mediaType: string
    capturedAt: Date | null
    capturedOffset: number | null
  }
}

/**
 * Records completions, those of uploads that end at about the same time in one statement and one commit. Returns the id of
 * each one's row. No two under way at once may have the same content (the content lock).
 */
export function createRecord(db: Database): (completion: Completion) => Promise<number> {
  return batched((completions) => retryingDeadlocks(() => record(db, completions)))
}

// The rarer parts, left out where no completion needs them: PostgreSQL runs the triggers of each part that it is given.
const ON_RESTORED = sql`on conflict (path) do update set
        checksum = excluded.checksum, size = excluded.size, media_type = excluded.media_type,
        captured_at = excluded.captured_at, captured_offset = excluded.captured_offset,
        stored_at = excluded.stored_at, verified_at = null, missing_at = null`
const REPLACED = sql`, moved as (
      update backups set file_path = offered.file_path
      from offered
      where offered.replaces is not null and backups.file_path = offered.replaces
        and backups.id is distinct from offered.row_id
    ), replaced as (
      delete from files using offered where files.path = offered.replaces
    )`
const SUPERSEDED = sql`, superseded as (
      delete from backups using offered
      where backups.id = offered.superseded_id and backups.status <> 'Completed'
    )`

async function record(db: Database, all: readonly Completion[]): Promise<number[]> {
  const restored = all.some((one) => one.file.isRestored)
  const replaced = all.some((one) => one.file.replaces !== null)
  const superseded = all.some((one) => one.supersededId !== null)
  const iso = (date: Date | null) => date?.toISOString() ?? null
  const { rows } = await sql<{ position: number; id: number }>`
    with offered as materialized (
      select * from unnest(
        ${all.map((one) => one.rowId)}::bigint[],
        ${all.map((one) => one.supersededId)}::bigint[],
        ${all.map((one) => one.deviceId)}::text[],
        ${all.map((one) => one.path)}::text[],
        ${all.map((one) => one.assetId)}::text[],
        ${all.map((one) => one.created)}::float8[],
        ${all.map((one) => one.modified)}::float8[],
        ${all.map((one) => one.announcedSize)}::bigint[],
        ${all.map((one) => one.announcedFrom)}::text[],
        ${all.map((one) => one.fileName)}::text[],
        ${all.map((one) => one.kind)}::text[],
        ${all.map((one) => iso(one.timestamp))}::timestamptz[],
        ${all.map((one) => one.file.path)}::text[],
        ${all.map((one) => one.file.replaces)}::text[],
        ${all.map((one) => one.file.isNew)}::boolean[],
        ${all.map((one) => one.file.checksum)}::text[],
        ${all.map((one) => one.file.size)}::bigint[],
        ${all.map((one) => one.file.mediaType)}::text[],
        ${all.map((one) => iso(one.file.capturedAt))}::timestamptz[],
        ${all.map((one) => one.file.capturedOffset)}::smallint[]
      ) with ordinality as offered (
        row_id, superseded_id, device_id, path, asset_id, created, modified, announced_size, announced_from, file_name, kind,
        timestamp, file_path, replaces, is_new, checksum, size, media_type, captured_at, captured_offset, position
      )
    ), stored as (
      insert into files (path, checksum, size, media_type, captured_at, captured_offset, stored_at)
      select file_path, decode(checksum, 'hex'), size, media_type, captured_at, captured_offset, timestamp
      from offered
      where is_new
      ${restored ? ON_RESTORED : sql``}
    )${replaced ? REPLACED : sql``}${superseded ? SUPERSEDED : sql``}, completed as (
      update backups set
        file_name = offered.file_name, file_path = offered.file_path, original_path = offered.path,
        file_size = offered.size, file_type = offered.kind, mime_type = offered.media_type, timestamp = offered.timestamp,
        status = 'Completed', failure = null, asset_id = offered.asset_id, created = offered.created,
        modified = offered.modified, announced_size = offered.announced_size, announced_from = offered.announced_from
      from offered
      where backups.id = offered.row_id
      returning offered.position, backups.id
    ), added as (
      insert into backups (
        device_id, original_path, asset_id, created, modified, announced_size, announced_from, file_name, file_type,
        timestamp, file_path, file_size, mime_type, status
      )
      select
        device_id, path, asset_id, created, modified, announced_size, announced_from, file_name, kind,
        timestamp, file_path, size, media_type, 'Completed'
      from offered
      where not exists (select from completed where completed.position = offered.position)
      returning file_path, id
    )
    select position, id from completed
    union all
    select offered.position, added.id from added join offered using (file_path)
    order by position
  `.execute(db)
  return rows.map((row) => row.id)
}
