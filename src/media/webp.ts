import type { CaptureDate } from './capture-date.ts'
import { type Bytes, part } from './read.ts'
import { readExif } from './tiff.ts'

const MAX_CHUNKS = 1024

/** Reads the EXIF capture date of a WebP by walking its RIFF chunks (RFC 9649, 2.7); `EXIF` stands behind the image. */
export async function webpDate(file: Bytes): Promise<CaptureDate | undefined> {
  let offset = 12
  for (let count = 0; count < MAX_CHUNKS; count += 1) {
    const header = await file.read(offset, 8)
    if (header === undefined) return undefined
    const length = header.readUInt32LE(4)
    if (header.toString('latin1', 0, 4) === 'EXIF') {
      const exif = part(file, offset + 8, length)
      return exif && (await readExif(exif))
    }
    offset += 8 + length + (length % 2)
  }
  return undefined
}
