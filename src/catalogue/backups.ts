import { sql } from 'kysely'
import { believable } from './believable.ts'
import type { Database } from './connection.ts'
import { LIBRARY } from './places.ts'
import type { BackupStatus } from './tables.ts'

/** A row of `backups` with what `files` knows of its original, under the names that the API uses. */
export interface Backup {
  id: number
  file_name: string
  file_path: string | null
  file_size: number | null
  file_type: string
  mime_type: string | null
  timestamp: Date | null
  status: BackupStatus
  original_path: string | null
  device_id: string | null
  captured_at: Date | null
  sha256: string | null
  failure: string | null
}

/** Which rows, and which part of them. Without a status: `Completed` and `Failed`. */
export interface LogFilter {
  limit: number
  offset: number
  deviceId?: string | undefined
  status?: BackupStatus | undefined
  /** Only rows earlier than this, or later. */
  before?: Date | undefined
  after?: Date | undefined
  /** The address of who asks: it is shown what it has announced, nobody else is. */
  address?: string | undefined
}

/**
 * What has not arrived is shown only to the address that has announced it, or had sent it once. What an older server
 * has failed to keep was never announced: it is history.
 */
function isShownTo(address = '') {
  return sql<boolean>`(
    backups.status = 'Completed' or backups.file_path is not null
    or coalesce(backups.announced_from, backups.sent_from, case backups.status when 'Failed' then ${address} end)
      = ${address}
  )`
}

const PENDING = sql.lit<BackupStatus>('Pending')

function selectBackups(db: Database) {
  return db
    .selectFrom('backups')
    .leftJoin('files', 'files.path', 'backups.file_path')
    .select([
      'backups.id',
      'backups.file_name',
      'backups.file_path',
      'backups.file_size',
      'backups.file_type',
      'backups.mime_type',
      'backups.timestamp',
      'backups.status',
      'backups.original_path',
      'backups.device_id',
      'files.captured_at',
      sql<string | null>`encode(files.checksum, 'hex')`.as('sha256'),
      'backups.failure',
    ])
}

/** Returns the row with that id, or `undefined`. */
export async function findBackup(db: Database, id: number): Promise<Backup | undefined> {
  return selectBackups(db).where('backups.id', '=', id).executeTakeFirst()
}

/** Returns the rows that fit, newest first; rows without a timestamp come last. */
export async function listBackups(db: Database, filter: LogFilter): Promise<Backup[]> {
  return selectLog(db, filter).execute()
}

/** The ids of the rows that `listBackups` returns, in its order: a long log is read some rows at a time. */
export async function listBackupIds(db: Database, filter: LogFilter): Promise<number[]> {
  const rows = await selectLog(db, filter).clearSelect().select('backups.id').execute()
  return rows.map(({ id }) => id)
}

/** Returns the rows with these ids in this order; those that are gone are left out. */
export async function readBackups(db: Database, ids: readonly number[]): Promise<Backup[]> {
  const rows = await selectBackups(db).where(sql<boolean>`backups.id = any(${ids}::bigint[])`).execute()
  return inOrder(ids, rows)
}

/** Puts `rows` into the order of `ids`. */
export function inOrder<Row extends { id: number }>(ids: readonly number[], rows: readonly Row[]): Row[] {
  const byId = new Map(rows.map((row) => [row.id, row]))
  return ids.map((id) => byId.get(id)).filter((row) => row !== undefined)
}

function selectLog(db: Database, filter: LogFilter) {
  let query = selectBackups(db)
    .orderBy('backups.timestamp', (order) => order.desc().nullsLast())
    .orderBy('backups.id', 'desc')
    .limit(filter.limit)
    .offset(filter.offset)
    .where(isShownTo(filter.address))
  // Said even where another status follows from it, and as a literal: it is what lets PostgreSQL use the index of the
  // log.
  if (filter.status !== 'Pending') query = query.where('backups.status', '<>', PENDING)
  if (filter.status !== undefined) query = query.where('backups.status', '=', sql.lit(filter.status))
  if (filter.deviceId !== undefined) query = query.where(deviceIs(filter.deviceId))
  if (filter.before !== undefined) query = query.where('backups.timestamp', '<', filter.before)
  if (filter.after !== undefined) query = query.where('backups.timestamp', '>', filter.after)
  return query
}

/** How many rows fit, without regard to limit, offset and address. From the totals, unless a time is asked for. */
export async function countBackups(db: Database, filter: Omit<LogFilter, 'limit' | 'offset'>): Promise<number> {
  if (filter.before === undefined && filter.after === undefined) {
    let totals = db.selectFrom('backup_totals').select(sql<number>`coalesce(sum(count), 0)::bigint`.as('total'))
    if (filter.status === undefined) totals = totals.where('status', '<>', 'Pending')
    else totals = totals.where('status', '=', filter.status)
    if (filter.deviceId !== undefined) totals = totals.where('device_id', '=', filter.deviceId)
    return (await totals.executeTakeFirstOrThrow()).total
  }
  let rows = db.selectFrom('backups').select(sql<number>`count(*)`.as('total'))
  if (filter.status !== 'Pending') rows = rows.where('status', '<>', PENDING)
  if (filter.status !== undefined) rows = rows.where('status', '=', filter.status)
  if (filter.deviceId !== undefined) rows = rows.where(deviceIs(filter.deviceId))
  if (filter.before !== undefined) rows = rows.where('timestamp', '<', filter.before)
  if (filter.after !== undefined) rows = rows.where('timestamp', '>', filter.after)
  return (await rows.executeTakeFirstOrThrow()).total
}

/** Old rows may have no device; they are those of `unknown`, as in `iclood_asset_key`. */
function deviceIs(deviceId: string) {
  return sql<boolean>`coalesce(backups.device_id, 'unknown') = ${deviceId}`
}

/**
 * What is on the drive, whatever the size of the household: each original once, however many phones have it. `last` is
 * when something was last backed up, as far as that can be believed at `now`.
 */
export async function sumBackups(
  db: Database,
  now: Date,
): Promise<{ bytes: number; photos: number; videos: number; last: Date | null }> {
  const { rows } = await sql<{ bytes: number; photos: number; videos: number; last: Date | null }>`
    select
      coalesce(sum(bytes), 0) as bytes,
      coalesce(sum(files) filter (where kind = 'photo'), 0)::bigint as photos,
      coalesce(sum(files) filter (where kind = 'video'), 0)::bigint as videos,
      (select timestamp from backups where status = 'Completed' and status <> 'Pending' and timestamp is not null
         and timestamp <= ${believable(now)}
       order by timestamp desc nulls last, id desc limit 1) as last
    from place_totals
    where place = ${LIBRARY} and state <> 'lost'
  `.execute(db)
  return rows[0] ?? { bytes: 0, photos: 0, videos: 0, last: null }
}
