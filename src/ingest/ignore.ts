import type { Database } from '../catalogue/connection.ts'
import { ignore as ignoreAssets } from '../catalogue/ignored.ts'
import type { OfferedFile } from '../catalogue/offered.ts'
import { parseLibraryPath } from '../storage/layout.ts'
import { type NoteChange, noteIfUnsure } from './changes.ts'

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
  const ignoring = ignoreAssets(db, deviceId, address, files, now())
  const { ignored, backups, originals } = await noteIfUnsure(changed, ignoring)
  changed({ ignored, backups, originals: originals.map(parseLibraryPath) })
  return { count: ignored.length, acceptsLoss: backups.length > 0 }
}
