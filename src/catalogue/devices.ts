import { sql } from 'kysely'
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
  /** When it last backed something up; null if it never did. */
  lastBackup: Date | null
}

/**
 * Returns the devices that have asked for or done a backup, those that did one last first; at most `limit`, however many names have
 * been sent. Costs as much as there are devices.
 */
export async function listDevices(db: Database, limit: number): Promise<Device[]> {
  const { rows } = await sql<Device>`
    with devices as materialized (
      select
        device_id,
        coalesce(sum(count) filter (where status = 'Completed'), 0)::bigint as completed,
        coalesce(sum(count) filter (where status = 'Failed'), 0)::bigint as failed,
        coalesce(sum(count) filter (where status = 'Pending'), 0)::bigint as pending,
        min(since) as first_seen
      from backup_totals
      group by device_id
      having sum(count) > 0
    )
    select
      device_id as "deviceId", completed, failed, pending, first_seen as "firstSeen", last.timestamp as "lastBackup"
    from devices left join lateral (
      select timestamp from backups
      where coalesce(device_id, 'unknown') = devices.device_id
        and status <> 'Pending' and status = 'Completed' and timestamp is not null
      order by timestamp desc nulls last, id desc
      limit 1
    ) as last on true
    order by "lastBackup" desc nulls last, first_seen desc, device_id
    limit ${limit}
  `.execute(db)
  return rows
}
