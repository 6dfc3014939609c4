import { sql } from 'kysely'
import type { Database } from './connection.ts'

/** What nobody has listed for so long is not waited for any more, unless its phone has never sent anything. */
const FORGOTTEN_MS = 30 * 24 * 60 * 60 * 1000
/** What may wait of one device: a phone's longest list. */
const MAX_PENDING = 200_000

/**
 * Selects `Pending` rows that nobody sends: those that their phone has not listed for long, while it has sent others;
 * and, of one phone's, those beyond all bounds, the oldest first. A phone that has never sent anything keeps its rows:
 * they say that it tries in vain.
 */
export function forgotten(deviceId: string, now: Date) {
  const before = sql`${new Date(now.getTime() - FORGOTTEN_MS).toISOString()}::timestamptz`
  return sql`
    select backups.id
    from (
      select device_id from backup_totals where status = 'Completed' group by device_id having sum(count) > 0
    ) as senders
      join backups on coalesce(backups.device_id, 'unknown') = senders.device_id
    where backups.status = 'Pending' and backups.timestamp < ${before}
    union all
    select id from (
      select id from backups
      where status = 'Pending' and coalesce(device_id, 'unknown') = ${deviceId}
        and (
          select sum(count) from backup_totals where device_id = ${deviceId} and status = 'Pending'
        ) > ${sql.lit(MAX_PENDING)}
      order by timestamp desc nulls last
      offset ${sql.lit(MAX_PENDING)}
    ) as oldest`
}

/** Rows removed in one statement. */
const FORGOTTEN_ROWS = 10_000

/** Removes announcements that nobody sends; not all at once, if they are many. */
export async function forgetUnsent(db: Database, deviceId: string, now: Date): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    await lockAnnouncements(transaction)
    await sql`
      delete from backups
      where id in (${forgotten(deviceId, now)} limit ${FORGOTTEN_ROWS}) and status = 'Pending'
    `.execute(transaction)
  })
}

/** One at a time: asking whether a row is there and making it is cheaper for all rows together than for each. */
export async function lockAnnouncements(transaction: Database): Promise<void> {
  await sql`select pg_advisory_xact_lock(7236844, 4)`.execute(transaction)
}
