import type { CaptureDate } from './capture-date.ts'
import { heifDate } from './heif.ts'
import { jpegDate } from './jpeg.ts'
import { kindOf, type MediaKind } from './media-type.ts'
import { readMovie } from './movie.ts'
import { pngDate } from './png.ts'
import { type Bytes, fileBytes, type ReadAt } from './read.ts'
import { SNIFF_LENGTH, type Sniffed, sniff } from './sniff.ts'
import { readTiff } from './tiff.ts'
import { webpDate } from './webp.ts'

/** What a file's bytes say of it. Nothing here is taken from its name, and what they do not say is undefined. */
export interface MediaFacts {
  mediaType: string | undefined
  kind: MediaKind | undefined
  captured: CaptureDate | undefined
}

/**
 * Tells what the file of `size` bytes behind `readAt` is and when it was taken. Photos: EXIF DateTimeOriginal. Videos:
 * QuickTime's creation date, else the movie header's. Costs one to a few reads of an ordinary file and never more than
 * 200 reads or 1 MiB of any; a damaged or hostile file yields no date. Rejects only with what `readAt` rejects with.
 */
export async function inspect(readAt: ReadAt, size: number): Promise<MediaFacts> {
  const file = fileBytes(readAt, size)
  const head = await file.read(0, Math.min(size, SNIFF_LENGTH))
  const sniffed = head && sniff(head)
  const { mediaType, captured } = sniffed === undefined ? NOTHING : await read(file, sniffed)
  return { mediaType, kind: kindOf(mediaType), captured }
}

const NOTHING = { mediaType: undefined, captured: undefined }

async function read(file: Bytes, { container, mediaType }: Sniffed): Promise<Omit<MediaFacts, 'kind'>> {
  switch (container) {
    case 'jpeg':
      return { mediaType, captured: await jpegDate(file) }
    case 'png':
      return { mediaType, captured: await pngDate(file) }
    case 'webp':
      return { mediaType, captured: await webpDate(file) }
    case 'heif':
      return { mediaType, captured: await heifDate(file) }
    case 'tiff': {
      const tiff = await readTiff(file)
      return { mediaType: tiff?.isDng ? 'image/x-adobe-dng' : mediaType, captured: tiff?.captured }
    }
    case 'movie':
      return { mediaType, captured: (await readMovie(file))?.captured }
    case 'old-movie': {
      const movie = await readMovie(file)
      return movie === undefined ? NOTHING : { mediaType, captured: movie.captured }
    }
    case 'other':
      return { mediaType, captured: undefined }
  }
}
