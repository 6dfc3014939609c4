import type { Found } from './found.ts'
import { type Bytes, part } from './read.ts'
import { readExif } from './tiff.ts'
import { readXmp } from './xmp.ts'

const MAX_CHUNKS = 1024

/** Reads the EXIF and XMP of a WebP by walking its RIFF chunks (RFC 9649, 2.7); both stand behind the image. */
export async function readWebp(file: Bytes, found: Found): Promise<void> {
  let offset = 12
  for (let count = 0; count < MAX_CHUNKS && !found.has('exif'); count += 1) {
    const header = await file.read(offset, 8)
    if (header === undefined) return
    const type = header.toString('latin1', 0, 4)
    const length = header.readUInt32LE(4)
    const body = part(file, offset + 8, length)
    if (type === 'EXIF' && body !== undefined) await readExif(body, found)
    // Some software writes a zero for the blank.
    if (/^XMP[ \0]$/.test(type) && body !== undefined) await readXmp(body, found)
    offset += 8 + length + (length % 2)
  }
}
