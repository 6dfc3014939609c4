import { IGNORED_ROWS, type Share } from '../base/budgets.ts'
import type { Database } from '../catalogue/connection.ts'
import { ignore as ignoreAssets, unignore as unignoreAssets } from '../catalogue/ignored.ts'
import type { OfferedFile } from '../catalogue/offered.ts'
import { countShares, hasTooManyDevices } from '../catalogue/row-shares.ts'
import { AppError } from '../errors.ts'
import { portionsOf } from './offer.ts'

/**
 * Marks files of a phone's list, which came from `address`, as ignored. Returns how many were not before, and whether
 * the loss of some of them was an open problem, which ends with that. Throws `database_unavailable`, and `busy` where
 * too many are ignored already.
 */
export async function ignore(
  { db, now, bounds = IGNORED_ROWS }: { db: Database; now: () => Date; bounds?: Share },
  deviceId: string,
  address: string,
  files: readonly OfferedFile[],
): Promise<{ count: number; acceptsLoss: boolean }> {
  let count = 0
  let acceptsLoss = false
  for (const portion of portionsOf(files)) {
    await expectRoom(db, deviceId, address, portion.length, bounds)
    const ignored = await ignoreAssets(db, deviceId, address, portion, now())
    count += ignored.count
    acceptsLoss ||= ignored.acceptsLoss
  }
  return { count, acceptsLoss }
}

/**
 * Who has little may have more, however many there are: a guest must not keep a person from saying what they don't want
 * backed up.
 */
async function expectRoom(db: Database, deviceId: string, address: string, more: number, bounds: Share): Promise<void> {
  const shares = await countShares(db, 'ignored', deviceId, address)
  const own = shares.ofAddress + more
  const isRoom = own <= bounds.each && (shares.all + more <= bounds.all || own <= bounds.each / 10)
  if (isRoom && !hasTooManyDevices(shares)) return
  throw new AppError(
    'busy',
    `Too many files are ignored already: ${shares.all} in all, ${shares.ofAddress} from this address. Take the mark from some (POST /photos/unignore).`,
  )
}

/** Takes that mark away again; returns of how many files. Throws `database_unavailable`. */
export async function unignore(db: Database, deviceId: string, files: readonly OfferedFile[]): Promise<number> {
  let total = 0
  for (const portion of portionsOf(files)) {
    total += await unignoreAssets(db, deviceId, portion)
  }
  return total
}
