import { type RawBuilder, sql } from 'kysely'
import type {
  BackupRecord,
  IgnoredRecord,
  JournalRecord,
  OriginalFacts,
  OriginalRecord,
} from '../format/journal-record.ts'
import type { Checksum } from '../media/checksum.ts'
import type { Database } from './connection.ts'
import { listFolder } from './folders.ts'

/** Rows read at a time for a snapshot: some milliseconds' work, and a megabyte. */
const PAGE_ROWS = 500
/** As a literal: of a parameter PostgreSQL expects a tenth of the table, and reads all of the others for each page. */
const A_PAGE = sql`limit ${sql.lit(PAGE_ROWS)}`

interface OriginalRow {
  path: string
  checksum: Checksum | null
  size: number | null
  media_type: string | null
  captured_at: Date | null
  captured_offset: number | null
  content_id: string | null
  stored_at: Date | null
  verified_at: Date | null
}

interface BackupRow extends Omit<BackupRecord, 'type' | 'at' | 'original'> {
  at: Date | null
  file_path: string | null
  original_size: number | null
  original_media_type: string | null
  checksum: Checksum | null
  captured_at: Date | null
  captured_offset: number | null
  content_id: string | null
  stored_at: Date | null
  verified_at: Date | null
}

/** The rows with these ids as the journal writes them: those that are there and not just announced, in no order. */
export async function backupRecords(db: Database, ids: readonly number[]): Promise<BackupRecord[]> {
  return selectBackups(db, sql`backups.id = any(${ids}::bigint[])`)
}

async function selectBackups(db: Database, which: RawBuilder<unknown>): Promise<BackupRecord[]> {
  const { rows } = await sql<BackupRow>`
    select
      backups.id, device_id as device, original_path as phone_path, asset_id, file_name as name, file_type as kind, status,
      failure, timestamp as at, created, modified, announced_size, announced_from, sent_from, file_size as size,
      mime_type as media_type, file_path, files.size as original_size, files.media_type as original_media_type,
      encode(checksum, 'hex') as checksum, captured_at, captured_offset, content_id, stored_at,
      verified_at
    from backups left join lateral (
      -- One by one: joined, all of it would be read for a page.
      select * from originals where originals.path = backups.file_path limit 1
    ) as files on true
    where backups.status <> 'Pending' and ${which}
  `.execute(db)
  return rows.map(backupRecord)
}

function backupRecord({ file_path, ...row }: BackupRow): BackupRecord {
  const facts = { ...row, path: file_path ?? '', size: row.original_size, media_type: row.original_media_type }
  return {
    type: 'backup',
    id: row.id,
    device: row.device,
    phone_path: row.phone_path,
    asset_id: row.asset_id,
    name: row.name,
    kind: row.kind,
    status: row.status,
    failure: row.failure,
    at: iso(row.at),
    created: row.created,
    modified: row.modified,
    announced_size: row.announced_size,
    announced_from: row.announced_from,
    sent_from: row.sent_from ?? null,
    size: row.size,
    media_type: row.media_type,
    original: file_path === null ? null : originalFacts(facts),
  }
}

/** The rows with these paths as the journal writes them: those that are there, in no order. */
export async function originalRecords(db: Database, paths: readonly string[]): Promise<OriginalRecord[]> {
  const { rows } = await sql<OriginalRow>`
    select ${ORIGINAL_COLUMNS} from originals where path = any(${paths}::text[])
  `.execute(db)
  return rows.map(originalRecord)
}

const ORIGINAL_COLUMNS = sql`
  path, encode(checksum, 'hex') as checksum, size, media_type, captured_at, captured_offset, content_id, stored_at,
  verified_at`

function originalRecord(row: OriginalRow): OriginalRecord {
  return { type: 'original', ...originalFacts(row) }
}

function originalFacts(row: OriginalRow): OriginalFacts {
  return {
    path: row.path,
    sha256: row.checksum,
    size: row.size,
    media_type: row.media_type,
    captured_at: iso(row.captured_at),
    captured_offset: row.captured_offset,
    ...(row.content_id !== null && { content_id: row.content_id }),
    stored_at: iso(row.stored_at),
    verified_at: iso(row.verified_at),
  }
}

/** The rows with these ids as the journal writes them: those that are there, in no order. */
export async function ignoredRecords(db: Database, ids: readonly number[]): Promise<IgnoredRecord[]> {
  return selectIgnored(db, sql`id = any(${ids}::bigint[])`)
}

async function selectIgnored(db: Database, which: RawBuilder<unknown>): Promise<IgnoredRecord[]> {
  const { rows } = await sql<Omit<IgnoredRecord, 'type' | 'at'> & { at: Date | null }>`
    select
      id, device_id as device, original_path as phone_path, asset_id, file_name as name, timestamp as at, created,
      announced_size, ignored_from
    from ignored_files where ${which}
  `.execute(db)
  return rows.map((row) => ({ type: 'ignored', ...row, at: iso(row.at) }))
}

/**
 * Everything that the journal knows of the catalogue, page by page. Pages are read one after the other, not at one
 * moment: what changes in between may be in it or not.
 */
export async function* allRecords(db: Database): AsyncGenerator<JournalRecord[]> {
  for (let after = -1; ; ) {
    const page = await selectBackups(db, sql`backups.id > ${after} order by backups.id ${A_PAGE}`)
    if (page.length > 0) yield page
    if (page.length < PAGE_ROWS) break
    after = page.at(-1)?.id ?? after
  }
  for (let after = -1; ; ) {
    const page = await selectIgnored(db, sql`id > ${after} order by id ${A_PAGE}`)
    if (page.length > 0) yield page
    if (page.length < PAGE_ROWS) break
    after = page.at(-1)?.id ?? after
  }
  yield* originalsAlone(db)
}

/** Originals that no row of `backups` tells of. */
async function* originalsAlone(db: Database): AsyncGenerator<JournalRecord[]> {
  for (let after = ''; ; ) {
    // Each page ends after a number of rows looked at, however few of them are found. `offset 0` has each row looked
    // up: joined, all of `backups` would be read for each page.
    const { rows } = await sql<OriginalRow & { last: string | null; path: string | null }>`
      with page as materialized (
        select files.* from (select path from files where path > ${after} order by path ${A_PAGE}) as paths
          join lateral (select * from originals where originals.path = paths.path limit 1) as files on true
      )
      select found.*, (select max(path) from page) as last
      from (select) as once left join (
        select ${ORIGINAL_COLUMNS} from page
        where not exists (select from backups where backups.file_path = page.path collate "default" and backups.status <> 'Pending' offset 0)
      ) as found on true
    `.execute(db)
    const found = rows.filter((row) => row.path !== null)
    if (found.length > 0) yield found.map(originalRecord)
    const last = rows[0]?.last ?? null
    if (last === null) return
    after = last
  }
}

/** All originals in a folder such as `2024/07`: their names, with the checksums of those that have been read. */
export async function checksumsIn(db: Database, folder: string): Promise<Map<string, Checksum | null>> {
  return new Map((await listFolder(db, folder)).map(({ name, checksum }) => [name, checksum]))
}

function iso(time: Date | null): string | null {
  return time?.toISOString() ?? null
}
