import { sql } from 'kysely'
import type { Checksum } from '../media/checksum.ts'
import type { MediaKind } from '../media/media-type.ts'
import { batched } from './batch.ts'
import type { Database } from './connection.ts'
import type { BackupStatus } from './tables.ts'

/** What is asked about an original that has just arrived. */
export interface Question {
  checksum: Checksum
  size: number
  deviceId: string
  /** The path on the phone as sent; null if it was not. */
  path: string | null
  /** `path` without fragment and extension, if it can be half of a Live Photo; then `kind` says which half. */
  stem: string | null
  kind: MediaKind
}

/** A row of `backups` as far as deciding needs it. Times are ms since 1970. */
export interface KnownAsset {
  id: number
  status: BackupStatus
  assetId: string | null
  created: number | null
  modified: number | null
  announcedSize: number | null
  announcedFrom: string | null
  timestamp: number | null
  /** Null also where the catalogue does not have the original: rows of an older server. */
  filePath: string | null
  /** Its original's. */
  checksum: Checksum | null
  size: number | null
  isLost: boolean | null
  capturedAt: number | null
}

/** What the catalogue knows about it. */
export interface Answer {
  /** Paths in the library under which the catalogue has this content, oldest first, with their sizes. */
  sameContent: {
    path: string
    size: number
    capturedAt: number | null
    capturedOffset: number | null
    isLost: boolean
  }[]
  /** Files of that size whose content has not been read yet: originals of an older server. */
  unreadOfSize: string[]
  /** All rows of that device and path; without a path, those without one that have this content. */
  samePath: KnownAsset[]
  /** Rows of what may be the other half of a Live Photo, announced or completed. */
  otherHalves: KnownAsset[]
}

const STILLS = ['HEIC', 'heic', 'HEIF', 'heif', 'JPG', 'jpg', 'JPEG', 'jpeg', 'DNG', 'dng', 'PNG', 'png']
const MOVIES = ['MOV', 'mov', 'MP4', 'mp4', 'M4V', 'm4v']

/** Answers questions of uploads that end at about the same time in one round trip. */
export function createLookUp(db: Database): (question: Question) => Promise<Answer> {
  return batched((questions) => lookUp(db, questions))
}

async function lookUp(db: Database, questions: readonly Question[]): Promise<Answer[]> {
  const known = sql`jsonb_build_object(
    'id', b.id, 'status', b.status, 'assetId', b.asset_id, 'created', b.created, 'modified', b.modified,
    'announcedSize', b.announced_size, 'announcedFrom', b.announced_from, 'filePath', f.path,
    'timestamp', extract(epoch from b.timestamp) * 1000, 'checksum', encode(f.checksum, 'hex'),
    'size', f.size, 'isLost', f.missing_at is not null, 'capturedAt', extract(epoch from f.captured_at) * 1000)`
  const { rows } = await sql<Answer>`
    select
      (select coalesce(jsonb_agg(jsonb_build_object(
         'path', f.path, 'size', f.size, 'capturedAt', extract(epoch from f.captured_at) * 1000,
         'capturedOffset', f.captured_offset, 'isLost', f.missing_at is not null) order by f.stored_at nulls first), '[]')
       from files f where f.checksum = decode(asked.checksum, 'hex')) as "sameContent",
      (select coalesce(jsonb_agg(f.path), '[]')
       from files f where f.checksum is null and f.missing_at is null and f.size = asked.size) as "unreadOfSize",
      case when asked.path is null then
        (select coalesce(jsonb_agg(${known} order by b.id), '[]')
         from files f join backups b on b.file_path = f.path
         where f.checksum = decode(asked.checksum, 'hex') and b.asset_key = iclood_asset_key(asked.device_id, null))
      else
        (select coalesce(jsonb_agg(${known} order by b.id), '[]')
         from backups b left join files f on f.path = b.file_path
         where b.asset_key = iclood_asset_key(asked.device_id, asked.path))
      end as "samePath",
      (select coalesce(jsonb_agg(${known} order by b.id), '[]')
       from backups b left join files f on f.path = b.file_path
       where asked.stem is not null and b.asset_key in (
         select iclood_asset_key(asked.device_id, asked.stem || '.' || extension)
         from unnest(case asked.kind when 'photo' then ${MOVIES}::text[] else ${STILLS}::text[] end) as extension
       )) as "otherHalves"
    from unnest(
      ${questions.map((question) => question.checksum)}::text[],
      ${questions.map((question) => question.size)}::bigint[],
      ${questions.map((question) => question.deviceId)}::text[],
      ${questions.map((question) => question.path)}::text[],
      ${questions.map((question) => question.stem)}::text[],
      ${questions.map((question) => question.kind)}::text[]
    ) with ordinality as asked (checksum, size, device_id, path, stem, kind, position)
    order by asked.position
  `.execute(db)
  return rows
}
