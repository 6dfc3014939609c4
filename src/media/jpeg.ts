import type { CaptureDate } from './capture-date.ts'
import { type Bytes, part } from './read.ts'
import { readExif } from './tiff.ts'

const APP1 = 0xe1
const START_OF_SCAN = 0xda
const END_OF_IMAGE = 0xd9
const MAX_SEGMENTS = 1024

/** Reads the EXIF capture date of a JPEG by walking the segments before its image (ITU T.81, B.1.1). */
export async function jpegDate(file: Bytes): Promise<CaptureDate | undefined> {
  let offset = 2
  for (let count = 0; count < MAX_SEGMENTS; count += 1) {
    const header = await file.read(offset, 10)
    if (header?.[0] !== 0xff) return undefined
    const marker = header.readUInt8(1)
    if (marker === 0xff) {
      // Any number of these may stand before a marker.
      offset += 1
    } else if (standsAlone(marker)) {
      offset += 2
    } else if (marker === START_OF_SCAN || marker === END_OF_IMAGE) {
      return undefined
    } else {
      const length = header.readUInt16BE(2)
      const segment = part(file, offset + 4, length - 2)
      if (segment === undefined) return undefined
      if (marker === APP1 && header.toString('latin1', 4, 9) === 'Exif\0') {
        const exif = part(segment, 6)
        const date = exif && (await readExif(exif))
        if (date !== undefined) return date
      }
      offset += 2 + length
    }
  }
  return undefined
}

/** TEM and RST0 to RST7 are markers without a length. */
function standsAlone(marker: number): boolean {
  return marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)
}
