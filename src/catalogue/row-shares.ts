import { sql } from 'kysely'
import { DEVICES_OF_AN_ADDRESS, EMPTY_SHARES, type RowBounds } from '../base/budgets.ts'
import { lock } from './advisory-locks.ts'
import type { Database } from './connection.ts'
import { retryingDeadlocks } from './deadlock.ts'
import { sweepEmpty } from './empty-counts.ts'
import type { RowSharesTable } from './tables.ts'

/** How many rows of one kind there are. */
export interface RowShares {
  all: number
  /** From this address, of this device, and both. */
  ofAddress: number
  ofDevice: number
  here: number
  /** Names of other devices that this address has such rows of. */
  otherDevices: number
}

/**
 * Counts what lists have made, at the same cost for any number of rows; names that have none any more are forgotten
 * once they are many.
 */
export async function countShares(
  db: Database,
  what: RowSharesTable['what'],
  deviceId: string,
  address: string,
): Promise<RowShares> {
  const isOfAddress = sql`address = iclood_share_of(${address}::text)`
  const isOfDevice = sql`device_id = ${deviceId}`
  const { rows } = await sql<RowShares & { empty: number }>`
    select
      count(*) filter (where count = 0) as empty,
      coalesce(sum(count), 0) as all,
      coalesce(sum(count) filter (where ${isOfAddress}), 0) as "ofAddress",
      coalesce(sum(count) filter (where ${isOfDevice}), 0) as "ofDevice",
      coalesce(sum(count) filter (where ${isOfAddress} and ${isOfDevice}), 0) as here,
      count(*) filter (where ${isOfAddress} and not ${isOfDevice} and count > 0) as "otherDevices"
    from row_shares where what = ${what}
  `.execute(db)
  const { empty, ...shares } = rows[0] ?? { empty: 0, all: 0, ofAddress: 0, ofDevice: 0, here: 0, otherDevices: 0 }
  if (empty > EMPTY_SHARES) await retryingDeadlocks(() => db.transaction().execute(sweepEmpty))
  return shares
}

/** Whether an address has rows of so many devices that it gets none of another. */
export function hasTooManyDevices({ here, otherDevices }: RowShares, most = DEVICES_OF_AN_ADDRESS): boolean {
  return here === 0 && otherDevices >= most
}

/**
 * Removes rows that wait for their files until `bounds` hold: of the address beyond its share, of the device, of all.
 * Who has the most gives way, the oldest first, so that nobody's flood takes another's place. What is removed is asked
 * for again when its phone lists it.
 */
export async function makeRoom(db: Database, deviceId: string, address: string, bounds: RowBounds): Promise<void> {
  const scopes = [
    {
      where: sql`address = iclood_share_of(${address}::text)`,
      excess: (shares: RowShares) => shares.ofAddress - bounds.each,
    },
    { where: sql`device_id = ${deviceId}`, excess: (shares: RowShares) => shares.ofDevice - bounds.device },
    { where: sql`true`, excess: (shares: RowShares) => shares.all - bounds.all },
  ]
  for (const { where, excess } of scopes) {
    const most = excess(await countShares(db, 'waiting', deviceId, address))
    if (most > 0) await removeOldest(db, where, most)
  }
}

/** Rows removed in one statement; the rest goes with the next list. */
const REMOVED_ROWS = 20_000

async function removeOldest(db: Database, where: ReturnType<typeof sql>, most: number): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    await lock(transaction, 'announcing')
    const { rows } = await sql<{ address: string; device: string }>`
      select address, device_id as device
      from (
        select address, device_id, count, sum(count) over (partition by address) as total
        from row_shares where what = 'waiting' and count > 0 and ${where}
      ) as holders
      order by total desc, count desc limit 1
    `.execute(transaction)
    const [biggest] = rows
    if (biggest === undefined) return
    const limit = Math.min(most, REMOVED_ROWS)
    const isTheirs = sql`
      coalesce(device_id, 'unknown') = ${biggest.device} and iclood_share_of(announced_from) = ${biggest.address}`
    await sql`
      with oldest as materialized (
        select id from (
          (select id, timestamp from backups where status = 'Pending' and ${isTheirs} order by timestamp limit ${limit})
          union all
          (select id, timestamp from backups
           where status = 'Failed' and file_path is null and ${isTheirs}
           order by timestamp nulls first, id limit ${limit})
        ) as waiting
        order by timestamp nulls first limit ${limit}
      )
      delete from backups where id in (select id from oldest)
    `.execute(transaction)
  })
}
