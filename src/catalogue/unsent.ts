import { sql } from 'kysely'
import { WAITING_DAYS } from '../base/budgets.ts'
import { DAY_MS } from '../base/clock.ts'
import { lock } from './advisory-locks.ts'
import type { Database } from './connection.ts'
import { sweepEmpty } from './empty-counts.ts'

/** What nobody has listed for so long is not waited for any more; of a phone that has never sent anything, longer. */
const FORGOTTEN_MS = 30 * DAY_MS
const FORGOTTEN_AT_LAST_MS = WAITING_DAYS * DAY_MS

/**
 * Selects `Pending` rows that nobody sends: those that their phone has not listed for long. A phone that has never sent
 * anything keeps its rows for longer: they say that it tries in vain.
 */
export function forgotten(now: Date) {
  const ago = (ms: number) => sql`${new Date(now.getTime() - ms).toISOString()}::timestamptz`
  return sql`
    select backups.id
    from (
      select device_id, sum(count) filter (where status = 'Completed') > 0 as has_sent
      from backup_totals group by device_id having sum(count) filter (where status = 'Pending') > 0
    ) as phones
      join backups on coalesce(backups.device_id, 'unknown') = phones.device_id
    where backups.status = 'Pending'
      and backups.timestamp < case when has_sent then ${ago(FORGOTTEN_MS)} else ${ago(FORGOTTEN_AT_LAST_MS)} end`
}

/** Rows removed in one statement. */
const FORGOTTEN_ROWS = 10_000

/** Removes announcements that nobody sends; not all at once, if they are many. */
export async function forgetUnsent(db: Database, now: Date): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    await lock(transaction, 'announcing')
    await sql`
      delete from backups
      where id in (${forgotten(now)} limit ${FORGOTTEN_ROWS}) and status = 'Pending'
    `.execute(transaction)
    await sweepEmpty(transaction)
  })
}
