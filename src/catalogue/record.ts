import { type RawBuilder, sql } from 'kysely'
import pg from 'pg'
import type { Checksum } from '../media/checksum.ts'
import type { MediaKind } from '../media/media-type.ts'
import { batched } from './batch.ts'
import type { Database } from './connection.ts'
import { retryingDeadlocks } from './deadlock.ts'
import { ownDateColumn } from './files.ts'
import { forsake } from './losses.ts'
import { LIBRARY } from './places.ts'

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
  /** The address that the bytes came from. */
  sentFrom: string
  /** Whether the asset id came with these bytes. */
  isIdentified: boolean
  fileName: string
  kind: MediaKind
  timestamp: Date
  file: {
    path: string
    /** The path under which the catalogue has had this content so far, if it is lost there and `path` replaces it. */
    replaces: string | null
    /** The path of a lost original of the asset, which another content, `path`, succeeds. */
    succeeds: string | null
    /** Whether `files` learns of it now. */
    isNew: boolean
    checksum: Checksum
    size: number
    mediaType: string
    capturedAt: Date | null
    capturedOffset: number | null
    /** Apple's content identifier; null if it has none. */
    contentId: string | null
    /** The capture date that its bytes tell; null if they tell none. */
    ownDate: Date | null
  }
}

/**
 * Records completions, those of uploads that end at about the same time in one statement and one commit. Returns the
 * id of its row; `undefined` for one whose original was there and has been declared lost since, or was new and has been
 * adopted by somebody else since: nothing is recorded of it. No two under way at once may have the same content (the
 * content lock).
 */
export function createRecord(db: Database): (completion: Completion) => Promise<number | undefined> {
  return batched((completions) =>
    retryingDeadlocks(async () => {
      const succeeded = completions.flatMap(({ file }) => file.succeeds ?? [])
      if (succeeded.length === 0) return record(db, completions)
      return db.transaction().execute(async (transaction) => {
        const recorded = await record(transaction, completions)
        await forsake(transaction, succeeded, new Date())
        return recorded
      })
    }).catch((error: unknown) => {
      // Of several the batch tries each by itself.
      if (completions.length === 1 && isAdopted(error)) return [undefined]
      throw error
    }),
  )
}

/** A file that had its name already and was not recorded yet has looked like a stranger to a rebuild. */
function isAdopted(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === '23505' && error.constraint === 'files_pkey'
}

// The rarer parts, left out where no completion needs them: PostgreSQL runs the triggers of each part that it is given.
const HELD = sql`, held as materialized (
      select copies.path from copies join offered on copies.path = offered.file_path
      where copies.place = ${LIBRARY} and not offered.is_new and copies.lost_at is null
      for share of copies
    )`
const IF_HELD = sql`and (offered.is_new or offered.file_path in (select path from held))`
const NOTHING = sql``
const REPLACED = sql`, moved as (
      update backups set
        file_path = offered.file_path,
        status = case when backups.status = 'Failed' and backups.failure is not null then 'Completed' else backups.status end,
        failure = case when backups.status = 'Failed' then null else backups.failure end
      from offered
      where offered.replaces is not null and backups.file_path = offered.replaces
        and backups.id is distinct from offered.row_id
    ), replaced as (
      delete from files using offered where files.path = offered.replaces
    ), replaced_findings as (
      update findings set healed_at = offered.timestamp, healed_by = 'new bytes from a phone, stored as ' || offered.file_path
      from offered
      where findings.place = ${LIBRARY} and findings.path = offered.replaces and findings.healed_at is null
    )`
const supersession = (ifHeld: RawBuilder<unknown>) => sql`, superseded as (
      delete from backups using offered
      where backups.id = offered.superseded_id and backups.status <> 'Completed' ${ifHeld}
    )`

async function record(db: Database, all: readonly Completion[]): Promise<(number | undefined)[]> {
  const isHeld = all.some((one) => !one.file.isNew)
  const ifHeld = isHeld ? IF_HELD : NOTHING
  const hasReplaced = all.some((one) => one.file.replaces !== null)
  const hasSuperseded = all.some((one) => one.supersededId !== null)
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
        ${all.map((one) => one.sentFrom)}::text[],
        ${all.map((one) => one.isIdentified)}::boolean[],
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
        ${all.map((one) => one.file.capturedOffset)}::smallint[],
        ${all.map((one) => one.file.contentId)}::text[],
        ${all.map((one) => ownDateColumn(one.file.ownDate))}::timestamptz[]
      ) with ordinality as offered (
        row_id, superseded_id, device_id, path, asset_id, created, modified, announced_size, announced_from, sent_from, is_identified,
        file_name, kind, timestamp, file_path, replaces, is_new, checksum, size, media_type, captured_at, captured_offset,
        content_id, own_date, position
      )
    ), stored as (
      insert into files (path, checksum, size, media_type, captured_at, captured_offset, content_id, own_date, stored_at)
      select
        file_path, decode(checksum, 'hex'), size, media_type, captured_at, captured_offset, content_id, own_date, timestamp
      from offered
      where is_new
    )${isHeld ? HELD : NOTHING}${hasReplaced ? REPLACED : NOTHING}${hasSuperseded ? supersession(ifHeld) : NOTHING}, completed as (
      update backups set
        file_name = offered.file_name, file_path = offered.file_path, original_path = offered.path,
        file_size = offered.size, file_type = offered.kind, mime_type = offered.media_type, timestamp = offered.timestamp,
        status = 'Completed', failure = null, asset_id = offered.asset_id, created = offered.created,
        modified = offered.modified, announced_size = offered.announced_size, announced_from = offered.announced_from,
        sent_from = offered.sent_from, is_identified = offered.is_identified
      from offered
      where backups.id = offered.row_id ${ifHeld}
      returning offered.position, backups.id
    ), added as (
      insert into backups (
        device_id, original_path, asset_id, created, modified, announced_size, announced_from, sent_from, is_identified,
        file_name, file_type, timestamp, file_path, file_size, mime_type, status
      )
      select
        device_id, path, asset_id, created, modified, announced_size, announced_from, sent_from, is_identified,
        file_name, kind, timestamp, file_path, size, media_type, 'Completed'
      from offered
      where not exists (select from completed where completed.position = offered.position) ${ifHeld}
      returning file_path, id
    )
    select position, id from completed
    union all
    select offered.position, added.id from added join offered using (file_path)
  `.execute(db)
  const ids = new Map(rows.map((row) => [row.position, row.id]))
  return all.map((_, index) => ids.get(index + 1))
}
