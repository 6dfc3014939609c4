import { type RawBuilder, sql } from 'kysely'
import { ROWS_WEIGHED } from '../base/budgets.ts'
import type { Checksum } from '../media/checksum.ts'
import { batched } from './batch.ts'
import type { Database } from './connection.ts'
import { isFromThere, isSameAsset, isSameAssetOfContent, mayBeLostUnread } from './same-asset.ts'
import type { BackupStatus } from './tables.ts'

/** What is asked about an original that has just arrived. */
export interface Question {
  checksum: Checksum
  size: number
  deviceId: string
  /** The path on the phone as sent; null if it was not. */
  path: string | null
  /**
   * The phone's own id of the asset, and when it says that it was created, in ms since 1970; null if it does not say.
   */
  assetId: string | null
  created: number | null
  /** The capture date that its bytes tell, in ms since 1970; null if they tell none. */
  taken: number | null
  /** Where it came from. */
  address: string
  /** What its relatives on the phone have before their extension, with their folder; null if there can be none. */
  stem: string | null
  /** Apple's content identifier, which both halves of a Live Photo have; null if it has none. */
  contentId: string | null
  role: Role
}

/**
 * A still may have a movie and a movie a still: they are a Live Photo. The edits of either are a file of their own
 * (AAE).
 */
export type Role = 'still' | 'movie' | 'edits'

/** A row of `backups` as far as deciding needs it. Times are ms since 1970. */
export interface KnownAsset {
  id: number
  status: BackupStatus
  assetId: string | null
  created: number | null
  modified: number | null
  announcedSize: number | null
  announcedFrom: string | null
  /** Whether its asset id came with the bytes of its original. */
  isIdentified: boolean
  timestamp: number | null
  /** Null also where the catalogue does not have the original: rows of an older server. */
  filePath: string | null
  /** Its original's. */
  checksum: Checksum | null
  size: number | null
  isLost: boolean | null
  capturedAt: number | null
  contentId: string | null
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
  /**
   * The rows of that device and path that are this asset, as far as can be told, or that it may restore (`lostUnread`);
   * without a path, those without one that have this content.
   */
  samePath: KnownAsset[]
  /** Rows of what may be the other half of a Live Photo, or what edits belong to, announced or completed. */
  relatives: KnownAsset[]
  /**
   * Rows of what has the same content identifier and is another half, whatever it is called and whoever has sent it.
   */
  otherHalves: KnownAsset[]
}

const STILLS = ['HEIC', 'heic', 'HEIF', 'heif', 'JPG', 'jpg', 'JPEG', 'jpeg', 'DNG', 'dng', 'PNG', 'png']
/** Of one content identifier; more than one is a copy of it. */
const MAX_HALVES = 10
const MOVIES = ['MOV', 'mov', 'MP4', 'mp4', 'M4V', 'm4v']

/** Answers questions of uploads that end at about the same time in one round trip. */
export function createLookUp(db: Database): (question: Question) => Promise<Answer> {
  return batched((questions) => lookUp(db, questions))
}

const KNOWN = sql`jsonb_build_object(
  'id', backups.id, 'status', backups.status, 'assetId', backups.asset_id, 'created', backups.created,
  'modified', backups.modified, 'announcedSize', backups.announced_size, 'announcedFrom', backups.announced_from,
  'isIdentified', backups.is_identified,
  'filePath', files.path, 'timestamp', extract(epoch from backups.timestamp) * 1000,
  'checksum', encode(files.checksum, 'hex'), 'size', files.size, 'isLost', files.lost_at is not null,
  'capturedAt', extract(epoch from files.captured_at) * 1000, 'contentId', files.content_id)`

/**
 * The rows `from …` as an array, in the order of their ids: where there are more than an upload looks at, those of its
 * own content first, then those of its id, those that wait, the latest. Anybody can send a path as often as they like.
 */
function rowsOf(from: RawBuilder<unknown>) {
  return sql`
    (select coalesce(jsonb_agg(weighed.known order by weighed.id), '[]')
     from (
       select ${KNOWN} as known, backups.id ${from}
       order by
         coalesce(files.checksum = decode(offered.checksum, 'hex'), false) desc,
         coalesce(backups.asset_id = offered.id, false) desc, backups.status <> 'Completed' desc,
         backups.timestamp desc nulls last, backups.id desc
       limit ${sql.lit(ROWS_WEIGHED)}
     ) as weighed)`
}

async function lookUp(db: Database, questions: readonly Question[]): Promise<Answer[]> {
  const { rows } = await sql<Answer>`
    select
      (select coalesce(jsonb_agg(jsonb_build_object(
         'path', files.path, 'size', files.size, 'capturedAt', extract(epoch from files.captured_at) * 1000,
         'capturedOffset', files.captured_offset, 'isLost', files.lost_at is not null) order by files.stored_at nulls first), '[]')
       from originals as files where files.checksum = decode(offered.checksum, 'hex')) as "sameContent",
      (select coalesce(jsonb_agg(files.path), '[]')
       from originals as files where files.checksum is null and files.lost_at is null and files.size = offered.size) as "unreadOfSize",
      case when offered.path is null then
        ${rowsOf(sql`
          from originals as files join backups on backups.file_path = files.path collate "default"
          where files.checksum = decode(offered.checksum, 'hex')
            and backups.asset_key = iclood_asset_key(offered.device_id, null)`)}
      else
        ${rowsOf(sql`
          from backups left join originals as files on files.path = backups.file_path
          where backups.asset_key = iclood_asset_key(offered.device_id, offered.path) and (
            ${isSameAsset} or (files.checksum = decode(offered.checksum, 'hex') and ${isSameAssetOfContent})
            or ${mayBeLostUnread}
          )`)}
      end as "samePath",
      ${rowsOf(sql`
        from backups left join originals as files on files.path = backups.file_path
        where offered.stem is not null and backups.asset_key in (
          select iclood_asset_key(offered.device_id, offered.stem || '.' || extension)
          from unnest(
            case offered.role
              when 'still' then ${MOVIES}::text[] when 'movie' then ${STILLS}::text[] else ${[...STILLS, ...MOVIES]}::text[]
            end
          ) as extension
        ) and (backups.status = 'Completed' or backups.asset_id = offered.id or ${isFromThere})`)} as relatives,
      case when offered.content_id is null then '[]' else
        ${rowsOf(sql`
          from (
            select path from files
            where content_id = offered.content_id
              and media_type like case offered.role when 'still' then 'video/%' else 'image/%' end
            order by stored_at desc nulls last limit ${MAX_HALVES}
          ) as half join originals as files using (path) join backups on backups.file_path = files.path collate "default"`)}
      end as "otherHalves"
    from unnest(
      ${questions.map((question) => question.checksum)}::text[],
      ${questions.map((question) => question.size)}::bigint[],
      ${questions.map((question) => question.deviceId)}::text[],
      ${questions.map((question) => question.path)}::text[],
      ${questions.map((question) => question.assetId)}::text[],
      ${questions.map((question) => question.created)}::float8[],
      ${questions.map((question) => question.taken)}::float8[],
      ${questions.map((question) => question.address)}::text[],
      ${questions.map((question) => question.stem)}::text[],
      ${questions.map((question) => question.contentId)}::text[],
      ${questions.map((question) => question.role)}::text[]
    ) with ordinality as offered (checksum, size, device_id, path, id, created, taken, address, stem, content_id, role, position)
    order by offered.position
  `.execute(db)
  return rows
}
