import { sql } from 'kysely'
import { believableUntil, HOUR_MS } from '../base/clock.ts'
import { AppError } from '../errors.ts'
import type { Database } from './connection.ts'

/** What the catalogue knows of a phone, or of several that go by one name. */
export interface Device {
  deviceId: string
  /** Assets by their state. */
  completed: number
  failed: number
  pending: number
  /** When it was first heard of. */
  firstSeen: Date
  /** When it last sent a list, to the hour; null if it never did. */
  lastSeen: Date | null
  /** Whether it has ever announced anything. */
  hasAnnounced: boolean
  /** When it backed something up, first and last, as far as that can be believed; null if it never did. */
  firstBackup: Date | null
  lastBackup: Date | null
  /** When a person said that it may be quiet; null if nobody did, or it has looked in since. */
  forgottenAt: Date | null
}

/**
 * Returns the devices that have asked for or done a backup, those that have backed up for the longest time first, then
 * those with the most photos: what others make up does not come before the phones of the house. At most `limit`,
 * however many names have been sent, out of as many with the most photos and as many that were heard of first; and
 * those of `kept`, wherever they stand. Costs a look at the counts of all devices, and two at an index for each of
 * these.
 */
export async function listDevices(
  db: Database,
  limit: number,
  now: Date,
  kept: readonly string[] = [],
): Promise<Device[]> {
  const until = sql`${believableUntil(now).toISOString()}::timestamptz`
  const done = sql`
    coalesce(device_id, 'unknown') = candidates.device_id
    and status <> 'Pending' and status = 'Completed' and timestamp <= ${until}`
  const { rows } = await sql<Device>`
    with counted as materialized (
      select
        device_id,
        coalesce(sum(count) filter (where status = 'Completed'), 0)::bigint as completed,
        coalesce(sum(count) filter (where status = 'Failed'), 0)::bigint as failed,
        coalesce(sum(count) filter (where status = 'Pending'), 0)::bigint as pending,
        min(since) as first_seen
      from backup_totals
      group by device_id
      having sum(count) > 0
    ), candidates as materialized (
      (select * from counted order by completed desc, first_seen, device_id limit ${limit})
      union
      (select * from counted order by first_seen, completed desc, device_id limit ${limit})
      union
      select * from counted where device_id = any(${kept}::text[])
    ), ranked as (
      select
        candidates.*, devices.last_seen, devices.has_announced, devices.forgotten_at,
        first.timestamp as first_backup, last.timestamp as last_backup,
        row_number() over (
          order by last.timestamp - first.timestamp desc nulls last, completed desc, first_seen, device_id
        ) as rank
      from candidates
        left join devices using (device_id)
        left join lateral (
          select timestamp from backups where ${done} order by timestamp desc nulls last, id desc limit 1
        ) as last on true
        left join lateral (
          select timestamp from backups where ${done} order by timestamp nulls first, id limit 1
        ) as first on true
    )
    select
      device_id as "deviceId", completed, failed, pending, first_seen as "firstSeen",
      case when last_seen <= ${until} then last_seen end as "lastSeen",
      coalesce(has_announced, false) as "hasAnnounced", forgotten_at as "forgottenAt",
      first_backup as "firstBackup", last_backup as "lastBackup"
    from ranked
    where rank <= ${limit} or device_id = any(${kept}::text[])
    order by rank
  `.execute(db)
  return rows
}

/**
 * Takes note that a device has sent a list, to announce what is in it (`isAnnouncing`) or to ask something else: a sign
 * of life, also with nothing new. Ends its being forgotten. Costs a look at an index: it is written down once an hour
 * at most, and only for devices that have rows, since names are whatever anybody sends.
 */
export async function noteSeen(db: Database, deviceId: string, isAnnouncing: boolean, now: Date): Promise<void> {
  await sql`
    insert into devices (device_id, last_seen, has_announced)
    select distinct device_id, ${now.toISOString()}::timestamptz, ${isAnnouncing}::boolean from backup_totals
    where device_id = ${deviceId} and count > 0 and not exists (
      select from devices
      where device_id = ${deviceId} and forgotten_at is null and (has_announced or not ${isAnnouncing}::boolean)
        and last_seen > ${new Date(now.getTime() - HOUR_MS).toISOString()}::timestamptz
        and last_seen <= ${believableUntil(now).toISOString()}::timestamptz
    )
    on conflict (device_id) do update set
      last_seen = excluded.last_seen, has_announced = devices.has_announced or excluded.has_announced, forgotten_at = null
  `.execute(db)
}

/**
 * Says that a device may be quiet, until it is heard of again. Its photos stay as they are. Throws `not_found` if the
 * catalogue does not know it.
 */
export async function forgetDevice(db: Database, deviceId: string, now: Date): Promise<void> {
  const { numAffectedRows } = await sql`
    insert into devices (device_id, forgotten_at)
    select device_id, ${now.toISOString()}::timestamptz from backup_totals
    where device_id = ${deviceId} group by device_id having sum(count) > 0
    on conflict (device_id) do update set forgotten_at = excluded.forgotten_at
  `.execute(db)
  if (numAffectedRows === 0n) {
    throw new AppError(
      'not_found',
      `No device called ${JSON.stringify(deviceId)} has ever backed anything up or asked to. Expected a name as /library/health and \`status\` show it.`,
    )
  }
}
