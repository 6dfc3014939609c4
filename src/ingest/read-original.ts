import { type ReadFile, recordMissing, recordRead } from '../catalogue/files.ts'
import { inspect } from '../media/inspect.ts'
import { mediaTypeOf } from '../media/media-type.ts'
import { type LibraryPath, splitPath } from '../storage/layout.ts'
import { checksumOf, sizeOf, withOriginal } from '../storage/originals.ts'
import { captureOf } from './capture.ts'
import type { Library } from './library.ts'

/**
 * Reads an original that the catalogue has from an older server, by path only, and records what it holds. Returns
 * `undefined`, and records that, if it is not on the drive. `pause` is awaited between chunks of 1 MiB.
 */
export async function readOriginal(
  library: Library,
  path: LibraryPath,
  pause?: () => Promise<void>,
): Promise<ReadFile | undefined> {
  const found = await sizeOf(library.drive, path)
  if (found === undefined) {
    // Gone with the drive is not gone from it.
    await library.drive.check()
    await recordMissing(library.db, path, library.now())
    return undefined
  }
  const facts = await withOriginal(library.drive, path, (readAt) => inspect(readAt, found))
  const { checksum, size } = await checksumOf(library.drive, path, pause)
  const { at, offset } = captureOf(facts, null, library.now(), library.timeZone)
  const mediaType = mediaTypeOf(facts.mediaType, splitPath(path).name) ?? 'application/octet-stream'
  const read = { path, checksum, size, mediaType, capturedAt: at, capturedOffset: offset }
  await recordRead(library.db, read)
  return read
}
