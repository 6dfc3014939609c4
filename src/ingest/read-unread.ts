import { recordMissing } from '../catalogue/files.ts'
import type { LibraryPath } from '../storage/layout.ts'
import { sizeOf } from '../storage/originals.ts'
import type { Library } from './library.ts'
import { type Outcome, readBack } from './verify/verify-original.ts'

/**
 * Reads an original that the catalogue has by path only, and records what it holds, unless its folder's SHA256SUMS says that it
 * should be something else: then it is lost. `gone`, and recorded as such, if it is not on the drive: an older server's photo that was not
 * there before is not asked for again. Otherwise as `readBack`.
 */
export async function readUnread(
  library: Library,
  path: LibraryPath,
  pause?: (bytes?: number) => Promise<void>,
): Promise<Outcome | 'gone' | undefined> {
  if ((await sizeOf(library.drive, path)) !== undefined) return readBack(library, path, pause)
  // Gone with the drive is not gone from it.
  await library.drive.check()
  await recordMissing(library.db, path, library.now())
  library.changed({ originals: [path] })
  return 'gone'
}
