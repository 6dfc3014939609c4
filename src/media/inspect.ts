/*
 * media/: Pure: bytes in, facts out. What kind of file it is, and when it was taken.
 */

import type { CaptureDate } from './capture-date.ts'
import { Found } from './found.ts'
import { readJpeg } from './jpeg.ts'
import { kindOf, type MediaKind } from './media-type.ts'
import { readIsoMedia } from './movie.ts'
import { readPng } from './png.ts'
import { type Bytes, fileBytes, part, type ReadAt } from './read.ts'
import { SNIFF_LENGTH, type Sniffed, sniff } from './sniff.ts'
import { readTiff } from './tiff.ts'
import { readWebp } from './webp.ts'

/** What a file's bytes say of it. Nothing here is taken from its name, and what they do not say is undefined. */
export interface MediaFacts {
  mediaType: string | undefined
  kind: MediaKind | undefined
  captured: CaptureDate | undefined
  /** Apple's content identifier, which both halves of a Live Photo have: a UUID in upper case. */
  contentId: string | undefined
  /** Whether it is of a rare kind that is recognised, but whose dates only others can read. */
  isForeign: boolean
}

/**
 * Tells what the file of `size` bytes behind `readAt` is and when it was taken: of the dates in it the one that counts
 * most (see `DateSource`), none of them more than a day after `now`. Costs one to a few reads of an ordinary file and
 * never more than 200 reads or 1 MiB of any; a damaged or hostile file yields no date. Rejects only with what `readAt`
 * rejects with.
 */
export async function inspect(readAt: ReadAt, size: number, now: Date): Promise<MediaFacts> {
  const file = fileBytes(readAt, size)
  const head = await file.read(0, Math.min(size, SNIFF_LENGTH))
  const sniffed = head && sniff(head)
  const found = new Found(now)
  const mediaType = sniffed && (await read(file, sniffed, found))
  const isForeign = mediaType !== undefined && sniffed?.container === 'other'
  return { mediaType, kind: kindOf(mediaType), captured: found.captured, contentId: found.contentId, isForeign }
}

/** Returns the media type. */
async function read(
  file: Bytes,
  { container, mediaType, start = 0 }: Sniffed,
  found: Found,
): Promise<string | undefined> {
  switch (container) {
    case 'jpeg': {
      const isJpeg = await readJpeg(part(file, start) ?? file, found)
      return isJpeg || start === 0 ? mediaType : undefined
    }
    case 'png':
      await readPng(file, found)
      return mediaType
    case 'webp':
      await readWebp(file, found)
      return mediaType
    case 'iso-media':
      await readIsoMedia(file, found)
      return mediaType
    case 'old-movie':
      return (await readIsoMedia(file, found)) ? mediaType : undefined
    case 'tiff':
      return (await readTiff(file, found))?.isDng ? 'image/x-adobe-dng' : mediaType
    case 'other':
      return mediaType
  }
}
