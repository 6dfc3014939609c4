import { sql } from 'kysely'
import { lock } from './advisory-locks.ts'
import type { Database } from './connection.ts'

/**
 * Forgets devices that the catalogue has no rows of any more: their counts, by address and in all, and when they were
 * seen. Names are whatever anybody sends. What a device has backed up keeps it. Runs within a transaction.
 */
export async function sweepEmpty(transaction: Database): Promise<void> {
  // No trigger is about to count on what is removed.
  await lock(transaction, 'counting')
  await sql`
    delete from row_shares where (what, address, device_id) in (
      select what, address, device_id from row_shares where count = 0 for update skip locked
    )`.execute(transaction)
  await sql`
    delete from backup_totals where device_id in (
      select device_id from backup_totals group by device_id having sum(count) = 0
    )`.execute(transaction)
  await sql`
    delete from devices where not exists (
      select from backup_totals where backup_totals.device_id = devices.device_id and count > 0
    )`.execute(transaction)
}
