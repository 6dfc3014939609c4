import { ifReadable } from '../base/if-readable.ts'
import { type ReadFile, recordRead } from '../catalogue/files.ts'
import { captureOf, ownDateOf } from '../format/capture.ts'
import { type LibraryPath, splitPath } from '../format/layout.ts'
import type { Checksum } from '../media/checksum.ts'
import { inspect } from '../media/inspect.ts'
import { mediaTypeOf } from '../media/media-type.ts'
import { withOriginal } from '../storage/originals.ts'
import { askExifTool } from './exiftool.ts'
import type { Library } from './library.ts'

/**
 * Records what an original holds that had not been read before; `verifiedAt` is when its bytes were read back from the
 * drive, null if they were only written there. Throws `drive_error`.
 */
export async function recordContent(
  library: Library,
  path: LibraryPath,
  { checksum, size }: { checksum: Checksum; size: number },
  verifiedAt: Date | null,
): Promise<ReadFile> {
  const facts = await withOriginal(library.drive, path, (readAt) => inspect(readAt, size, library.now()))
  const now = library.now()
  const asked = facts.isForeign ? await askExifTool(library, path, now) : undefined
  const captured = facts.captured ?? asked
  const { at, offset } = captureOf(captured, null, now, library.timeZone)
  const mediaType = mediaTypeOf(facts.mediaType, splitPath(path).name) ?? 'application/octet-stream'
  const read = {
    path,
    checksum,
    size,
    mediaType,
    capturedAt: at,
    capturedOffset: offset,
    contentId: facts.contentId ?? null,
    ownDate: ownDateOf(captured, now, library.timeZone),
    verifiedAt,
  }
  await recordRead(library.db, read)
  return read
}

/**
 * The capture date that the bytes of an original of `size` bytes tell; null if they tell none, `undefined` if the drive
 * could not read them.
 */
export async function lookForDate(library: Library, path: LibraryPath, size: number): Promise<Date | null | undefined> {
  const now = library.now()
  const facts = await ifReadable(withOriginal(library.drive, path, (readAt) => inspect(readAt, size, now)))
  return facts && ownDateOf(facts.captured, now, library.timeZone)
}
