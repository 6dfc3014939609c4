import { crc32 } from 'node:zlib'
import type { CaptureDate } from './capture-date.ts'
import { type Bytes, part } from './read.ts'
import { readExif } from './tiff.ts'

const MAX_CHUNKS = 1024
const MAX_TAIL = 64 * 1024
// Each costs a checksum of up to the whole tail.
const MAX_CANDIDATES = 8

/**
 * Reads the EXIF capture date of a PNG (PNG specification, 3rd edition, 11.3.4.6 eXIf). The chunk may also stand behind
 * the image, whose thousands of IDAT chunks are not walked: it is found from the end of the file.
 */
export async function pngDate(file: Bytes): Promise<CaptureDate | undefined> {
  let offset = 8
  for (let count = 0; count < MAX_CHUNKS; count += 1) {
    const header = await file.read(offset, 8)
    if (header === undefined) return undefined
    const length = header.readUInt32BE(0)
    const type = header.toString('latin1', 4, 8)
    if (type === 'IDAT') return dateInTail(file)
    if (type === 'IEND') return undefined
    if (type === 'eXIf') {
      const exif = part(file, offset + 8, length)
      return exif && (await readExif(exif))
    }
    offset += 12 + length
  }
  return undefined
}

async function dateInTail(file: Bytes): Promise<CaptureDate | undefined> {
  const start = Math.max(0, file.size - MAX_TAIL)
  const tail = await file.read(start, file.size - start)
  if (tail === undefined) return undefined
  // These four letters turn up in compressed pixels too, though hardly ever; with a matching checksum they do not.
  let type = 0
  for (let count = 0; count < MAX_CANDIDATES; count += 1) {
    type = tail.indexOf('eXIf', type + 4, 'latin1')
    if (type === -1) return undefined
    const end = type + 4 + tail.readUInt32BE(type - 4)
    if (end + 4 <= tail.length && crc32(tail.subarray(type, end)) === tail.readUInt32BE(end)) {
      const exif = part(file, start + type + 4, end - type - 4)
      return exif && (await readExif(exif))
    }
  }
  return undefined
}
