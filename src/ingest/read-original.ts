import { type ReadFile, recordRead } from '../catalogue/files.ts'
import type { Checksum } from '../media/checksum.ts'
import { inspect } from '../media/inspect.ts'
import { mediaTypeOf } from '../media/media-type.ts'
import { type LibraryPath, splitPath } from '../storage/layout.ts'
import { withOriginal } from '../storage/originals.ts'
import { captureOf } from './capture.ts'
import { noteIfUnsure } from './changes.ts'
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
  const asked = facts.isForeign ? await library.exifTool.dateOf(library.drive.resolve(path), now) : undefined
  const { at, offset } = captureOf(facts.captured ?? asked, null, now, library.timeZone)
  const mediaType = mediaTypeOf(facts.mediaType, splitPath(path).name) ?? 'application/octet-stream'
  const read = {
    path,
    checksum,
    size,
    mediaType,
    capturedAt: at,
    capturedOffset: offset,
    contentId: facts.contentId ?? null,
    verifiedAt,
  }
  const backups = await noteIfUnsure(library.changed, recordRead(library.db, read))
  library.changed({ originals: [path], backups })
  return read
}
