/**
 * How a file is built, which decides how its date is read. An `old-movie` has no `ftyp`: it begins with four letters
 * that a text could begin with, and is a movie only if it has a `moov`.
 */
export type Container = 'jpeg' | 'png' | 'tiff' | 'webp' | 'iso-media' | 'old-movie' | 'other'

export interface Sniffed {
  container: Container
  mediaType: string
  /** Where it begins, if there is rubbish before it. */
  start?: number
}

/** How many bytes from the start of a file {@link sniff} looks at. */
export const SNIFF_LENGTH = 1024

const SIGNATURES: readonly { at: number; bytes: string; container: Container; mediaType: string }[] = [
  { at: 0, bytes: '\xff\xd8\xff', container: 'jpeg', mediaType: 'image/jpeg' },
  { at: 0, bytes: '\x89PNG\r\n\x1a\n', container: 'png', mediaType: 'image/png' },
  { at: 8, bytes: 'CR\x02\0', container: 'tiff', mediaType: 'image/x-canon-cr2' },
  { at: 0, bytes: 'II*\0', container: 'tiff', mediaType: 'image/tiff' },
  { at: 0, bytes: 'MM\0*', container: 'tiff', mediaType: 'image/tiff' },
  { at: 0, bytes: 'GIF87a', container: 'other', mediaType: 'image/gif' },
  { at: 0, bytes: 'GIF89a', container: 'other', mediaType: 'image/gif' },
  { at: 0, bytes: 'FUJIFILMCCD-RAW', container: 'other', mediaType: 'image/x-fujifilm-raf' },
  { at: 4, bytes: 'JXL \r\n\x87\n', container: 'other', mediaType: 'image/jxl' },
  { at: 4, bytes: 'jP  \r\n\x87\n', container: 'other', mediaType: 'image/jp2' },
  { at: 0, bytes: 'II+\0\x08\0\0\0', container: 'other', mediaType: 'image/tiff' },
  { at: 0, bytes: 'MM\0+\0\x08\0\0', container: 'other', mediaType: 'image/tiff' },
  { at: 0, bytes: 'IIRO', container: 'other', mediaType: 'image/x-olympus-orf' },
  { at: 0, bytes: 'IIRS', container: 'other', mediaType: 'image/x-olympus-orf' },
  { at: 0, bytes: 'MMOR', container: 'other', mediaType: 'image/x-olympus-orf' },
  { at: 0, bytes: 'IIU\0', container: 'other', mediaType: 'image/x-panasonic-rw2' },
  { at: 6, bytes: 'HEAPCCDR', container: 'other', mediaType: 'image/x-canon-crw' },
  { at: 0, bytes: '\0MRM', container: 'other', mediaType: 'image/x-minolta-mrw' },
  { at: 0, bytes: 'FOVb', container: 'other', mediaType: 'image/x-sigma-x3f' },
  { at: 0, bytes: '8BPS\0', container: 'other', mediaType: 'image/vnd.adobe.photoshop' },
  { at: 0, bytes: '\x30\x26\xb2\x75\x8e\x66\xcf\x11', container: 'other', mediaType: 'video/x-ms-wmv' },
  { at: 0, bytes: 'FLV\x01', container: 'other', mediaType: 'video/x-flv' },
  { at: 0, bytes: '\0\0\x01\xba', container: 'other', mediaType: 'video/mpeg' },
  { at: 0, bytes: '\0\0\x01\xb3', container: 'other', mediaType: 'video/mpeg' },
  { at: 0, bytes: '\x1f\x07\0\x3f', container: 'other', mediaType: 'video/x-dv' },
  { at: 0, bytes: '\x1f\x07\0\xbf', container: 'other', mediaType: 'video/x-dv' },
]

/** ISO base media files by major brand; the HEIF ones as ISO/IEC 23008-12 and the AV1 image format register them. */
const BRANDS: Readonly<Record<string, Sniffed>> = {
  heic: { container: 'iso-media', mediaType: 'image/heic' },
  heix: { container: 'iso-media', mediaType: 'image/heic' },
  heim: { container: 'iso-media', mediaType: 'image/heic' },
  heis: { container: 'iso-media', mediaType: 'image/heic' },
  hevc: { container: 'iso-media', mediaType: 'image/heic-sequence' },
  hevx: { container: 'iso-media', mediaType: 'image/heic-sequence' },
  avif: { container: 'iso-media', mediaType: 'image/avif' },
  avis: { container: 'iso-media', mediaType: 'image/avif' },
  mif1: { container: 'iso-media', mediaType: 'image/heif' },
  mif2: { container: 'iso-media', mediaType: 'image/heif' },
  msf1: { container: 'iso-media', mediaType: 'image/heif-sequence' },
  'crx ': { container: 'other', mediaType: 'image/x-canon-cr3' },
  'qt  ': { container: 'iso-media', mediaType: 'video/quicktime' },
  'M4V ': { container: 'iso-media', mediaType: 'video/x-m4v' },
  M4VH: { container: 'iso-media', mediaType: 'video/x-m4v' },
  M4VP: { container: 'iso-media', mediaType: 'video/x-m4v' },
  'M4A ': { container: 'iso-media', mediaType: 'audio/mp4' },
  'M4B ': { container: 'iso-media', mediaType: 'audio/mp4' },
  'M4P ': { container: 'iso-media', mediaType: 'audio/mp4' },
}

/** What QuickTime files from before `ftyp` begin with. */
const OLD_MOVIE_BOXES: readonly string[] = ['moov', 'mdat', 'wide', 'free', 'skip', 'pnot']

/**
 * Tells from the first bytes of a file ({@link SNIFF_LENGTH} of them, fewer in a shorter file) what it is; undefined
 * where they do not tell.
 */
export function sniff(head: Buffer): Sniffed | undefined {
  const signature = SIGNATURES.find(({ at, bytes }) => head.toString('latin1', at, at + bytes.length) === bytes)
  if (signature !== undefined) return signature
  const type = head.toString('latin1', 4, 8)
  if (type === 'ftyp' && head.length >= 12) return byBrands(head)
  if (OLD_MOVIE_BOXES.includes(type)) return { container: 'old-movie', mediaType: 'video/quicktime' }
  const start = head.toString('latin1', 0, 4)
  if (start === 'RIFF') return byForm(head.toString('latin1', 8, 12))
  if (start === '\x1a\x45\xdf\xa3') {
    const isWebm = head.subarray(0, 64).includes('webm')
    return { container: 'other', mediaType: isWebm ? 'video/webm' : 'video/x-matroska' }
  }
  if (isBmp(head)) return { container: 'other', mediaType: 'image/bmp' }
  if (isTransportStream(head)) return { container: 'other', mediaType: 'video/mp2t' }
  return jpegBehindRubbish(head)
}

/**
 * Packets of 188 bytes, in camcorders' files with four more before each, that begin alike: no error, something in them.
 */
function isTransportStream(head: Buffer): boolean {
  const isPacket = (at: number) =>
    head[at] === 0x47 && (head[at + 1] ?? 0x80) < 0x80 && ((head[at + 3] ?? 0) & 0x30) !== 0
  return (
    [0, 1, 2, 3].every((index) => isPacket(index * 188)) || [0, 1, 2, 3].every((index) => isPacket(4 + index * 192))
  )
}

/** What may have pictures in it and is none: documents, archives, music, programs. */
const NO_RUBBISH: readonly string[] = [
  ...['%PDF', '%!PS', 'PK\x03\x04', 'ID3', 'OggS', 'fLaC', 'RIFF', 'Rar!', '\x1f\x8b\x08', 'BZh', '7z\xbc\xaf'],
  ...['MZ\x90', '\x7fELF', '\xd0\xcf\x11\xe0', 'SQLite', 'bplist'],
]

/** Rubbish before a photo is passed over, as ExifTool does; whether a photo follows, its segments tell. */
function jpegBehindRubbish(head: Buffer): Sniffed | undefined {
  const start = head.indexOf('\xff\xd8\xff', 0, 'latin1')
  const isOther = NO_RUBBISH.some((first) => head.toString('latin1', 0, first.length) === first)
  if (start === -1 || isOther) return undefined
  return { container: 'jpeg', mediaType: 'image/jpeg', start }
}

/** Two letters are little to go by: the reserved bytes and the size of the second header must fit too. */
function isBmp(head: Buffer): boolean {
  if (head.length < 26 || head.toString('latin1', 0, 2) !== 'BM' || head.readUInt32LE(6) !== 0) return false
  return [12, 40, 52, 56, 64, 108, 124].includes(head.readUInt32LE(14))
}

/** The major brand decides, as in ExifTool; the compatible ones where it is unknown, and between the image codecs. */
function byBrands(head: Buffer): Sniffed {
  const major = head.toString('latin1', 8, 12)
  const end = Math.min(head.readUInt32BE(0), head.length - (head.length % 4))
  const compatible: string[] = []
  for (let offset = 16; offset + 4 <= end; offset += 4) compatible.push(head.toString('latin1', offset, offset + 4))

  const known = Object.hasOwn(BRANDS, major) ? BRANDS[major] : undefined
  if (known?.mediaType.startsWith('image/heif') && compatible.includes('avif')) {
    return { container: 'iso-media', mediaType: 'image/avif' }
  }
  if (known !== undefined) return known
  if (major.startsWith('3g2')) return { container: 'iso-media', mediaType: 'video/3gpp2' }
  if (/^3g[a-z]/.test(major)) return { container: 'iso-media', mediaType: 'video/3gpp' }
  const isQuickTime = compatible.includes('qt  ') && !compatible.some((brand) => /^(?:mp4[12]|avc1)$/.test(brand))
  return { container: 'iso-media', mediaType: isQuickTime ? 'video/quicktime' : 'video/mp4' }
}

function byForm(form: string): Sniffed | undefined {
  if (form === 'WEBP') return { container: 'webp', mediaType: 'image/webp' }
  return form === 'AVI ' ? { container: 'other', mediaType: 'video/x-msvideo' } : undefined
}
