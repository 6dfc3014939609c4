import type { Found } from './found.ts'
import { readImageResources } from './iptc.ts'
import { type Bytes, join, part } from './read.ts'
import { readExif } from './tiff.ts'
import { readXmp } from './xmp.ts'

const APP1 = 0xe1
const APP13 = 0xed
const START_OF_SCAN = 0xda
const END_OF_IMAGE = 0xd9
const MAX_SEGMENTS = 1024
/** Between all segments together. */
const MAX_RUBBISH = 64 * 1024
const RUBBISH_STEP = 1024

const EXIF = 'Exif\0\0'
/** Some software has other bytes before it, or does not end it as it should. */
const ALMOST_EXIF = /^[\s\S]{0,4}?Exif\0/i
const TIFF = /^(?:MM\0\*|II\*\0)/
const XMP = 'http://ns.adobe.com/xap/1.0/\0'
const ALMOST_XMP = /^(?:http|XMP\0)|<(?:exif:|\?xpacket)/
const EXTENDED_XMP = 'http://ns.adobe.com/xmp/extension/\0'
/** Behind its name: which extension it is (32 letters), how long that is in all, and where in it this piece belongs. */
const EXTENDED_HEADER = EXTENDED_XMP.length + 32 + 4 + 4
const PHOTOSHOP = 'Photoshop 3.0\0'
const OLD_PHOTOSHOP = 'Adobe_Photoshop2.5:'
const OLD_PHOTOSHOP_HEADER = 27

/**
 * Reads a JPEG's EXIF, XMP and IPTC from the segments before its image (ITU T.81, B.1.1). Rubbish before and between
 * them is passed over as ExifTool does. Returns whether it was one.
 */
export async function readJpeg(file: Bytes, found: Found): Promise<boolean> {
  const exif: Bytes[] = []
  const resources: Bytes[] = []
  const extensions = new Map<string, Piece[]>()
  let extension: string | undefined
  let isImage = false
  const endExif = async () => {
    if (exif.length > 0) await readExif(join(exif.splice(0)), found)
  }

  for await (const { marker, body } of segments(file)) {
    isImage ||= isFrame(marker)
    const mark =
      marker === APP1 || marker === APP13
        ? ((await body.read(0, Math.min(body.size, EXTENDED_HEADER)))?.toString('latin1') ?? '')
        : ''
    // What does not fit one segment goes on in the next one, which has no header of a TIFF.
    const goesOn = exif.length > 0 && mark.startsWith(EXIF) && !TIFF.test(mark.slice(EXIF.length))
    if (!goesOn) await endExif()
    if (found.has('exif')) return true

    const exifMark = ALMOST_EXIF.exec(mark)?.[0]
    if (marker === APP13) {
      const start = mark.startsWith(PHOTOSHOP) ? PHOTOSHOP.length : OLD_PHOTOSHOP_HEADER
      if (start === PHOTOSHOP.length || mark.startsWith(OLD_PHOTOSHOP)) resources.push(...whole(body, start))
    } else if (exifMark !== undefined) {
      exif.push(...whole(body, exifMark.length + 1))
    } else if (mark.startsWith(EXTENDED_XMP) && mark.length === EXTENDED_HEADER) {
      const id = mark.slice(EXTENDED_XMP.length, EXTENDED_XMP.length + 32)
      const offset = Buffer.from(mark.slice(-4), 'latin1').readUInt32BE(0)
      extensions.set(id, [...(extensions.get(id) ?? []), { offset, parts: whole(body, EXTENDED_HEADER) }])
    } else if (ALMOST_XMP.test(mark)) {
      const [packet = body] = whole(body, mark.startsWith(XMP) ? XMP.length : 0)
      extension = (await readXmp(packet, found)) ?? extension
    }
  }
  await endExif()
  if (extension !== undefined) await readXmp(join(inOrder(extensions.get(extension) ?? [])), found)
  await readImageResources(join(resources), found)
  return isImage
}

interface Piece {
  offset: number
  parts: Bytes[]
}

function inOrder(pieces: readonly Piece[]): Bytes[] {
  return pieces.toSorted((a, b) => a.offset - b.offset).flatMap(({ parts }) => parts)
}

/** All of `bytes` from `start` on, if there is any. */
function whole(bytes: Bytes, start: number): Bytes[] {
  const rest = part(bytes, start)
  return rest === undefined ? [] : [rest]
}

/** Yields the segments up to the image or to the first that sticks out, those without a length with an empty body. */
async function* segments(file: Bytes): AsyncGenerator<{ marker: number; body: Bytes }> {
  let offset: number | undefined = 2
  let rubbish = 0
  for (let count = 0; count < MAX_SEGMENTS; count += 1) {
    const markerAt: number | undefined = await nextMarker(file, offset, MAX_RUBBISH - rubbish)
    if (markerAt === undefined) return
    rubbish += markerAt - offset
    const marker = (await file.read(markerAt, 1))?.readUInt8(0) ?? END_OF_IMAGE
    offset = markerAt + 1
    if (standsAlone(marker)) continue
    const length = marker === END_OF_IMAGE ? undefined : (await file.read(offset, 2))?.readUInt16BE(0)
    const body = length === undefined ? undefined : part(file, offset + 2, length - 2)
    if (length === undefined || body === undefined) return
    yield { marker, body }
    if (marker === START_OF_SCAN) return
    offset += length
  }
}

/**
 * Where the second byte of the next marker is: not more than `most` bytes on. Any number of 0xff may stand before it.
 */
async function nextMarker(file: Bytes, offset: number, most: number): Promise<number | undefined> {
  let isFilled = false
  for (let at = offset; at - offset <= most; ) {
    const bytes = await file.read(at, Math.min(isFilled || at > offset ? RUBBISH_STEP : 16, file.size - at))
    if (bytes === undefined || bytes.length === 0) return undefined
    for (const byte of bytes) {
      if (isFilled && byte !== 0xff) return at
      isFilled ||= byte === 0xff
      at += 1
    }
  }
  return undefined
}

/** TEM, RST0 to RST7 and SOI are markers without a length; 0 is none, but a byte of an image or of rubbish. */
function standsAlone(marker: number): boolean {
  return marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd8)
}

function isFrame(marker: number): boolean {
  return marker === START_OF_SCAN || (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker))
}
