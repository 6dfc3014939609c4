import type { Database } from '../catalogue/connection.ts'
import { ignore as ignoreAssets, unignore as unignoreAssets } from '../catalogue/ignored.ts'
import type { OfferedFile } from '../catalogue/offered.ts'
import { parseLibraryPath } from '../storage/layout.ts'
import { type NoteChange, noteIfUnsure } from './changes.ts'
import { portionsOf } from './offer.ts'

/**
 * Marks files of a phone's list, which came from `address`, as ignored. Returns how many were not before, and whether
 * the loss of some of them was an open problem, which ends with that. Throws `database_unavailable`.
 */
export async function ignore(
  { db, changed, now }: { db: Database; changed: NoteChange; now: () => Date },
  deviceId: string,
  address: string,
  files: readonly OfferedFile[],
): Promise<{ count: number; acceptsLoss: boolean }> {
  let count = 0
  let acceptsLoss = false
  for (const portion of portionsOf(files)) {
    const ignoring = ignoreAssets(db, deviceId, address, portion, now())
    const { ignored, backups, originals } = await noteIfUnsure(changed, ignoring)
    changed({ ignored, backups, originals: originals.map(parseLibraryPath) })
    count += ignored.length
    acceptsLoss ||= backups.length > 0
  }
  return { count, acceptsLoss }
}

/** Takes that mark away again; returns of how many files. Throws `database_unavailable`. */
export async function unignore(
  { db, changed }: { db: Database; changed: NoteChange },
  deviceId: string,
  files: readonly OfferedFile[],
): Promise<number> {
  let total = 0
  for (const portion of portionsOf(files)) {
    const { ids, count } = await noteIfUnsure(changed, unignoreAssets(db, deviceId, portion))
    changed({ ignored: ids })
    total += count
  }
  return total
}
