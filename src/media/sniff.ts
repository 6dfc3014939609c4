/**
 * How a file is built, which decides how its date is read. An `old-movie` has no `ftyp`: it begins with four letters
 * that a text could begin with, and is a movie only if it has a `moov`.
 */
export type Container = 'jpeg' | 'png' | 'tiff' | 'webp' | 'heif' | 'movie' | 'old-movie' | 'other'

export interface Sniffed {
  container: Container
  mediaType: string
}

/** How many bytes from the start of a file {@link sniff} looks at. */
export const SNIFF_LENGTH = 256

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
]

/** ISO base media files by major brand; the HEIF ones as ISO/IEC 23008-12 and the AV1 image format register them. */
const BRANDS: Readonly<Record<string, Sniffed>> = {
  heic: { container: 'heif', mediaType: 'image/heic' },
  heix: { container: 'heif', mediaType: 'image/heic' },
  heim: { container: 'heif', mediaType: 'image/heic' },
  heis: { container: 'heif', mediaType: 'image/heic' },
  hevc: { container: 'heif', mediaType: 'image/heic-sequence' },
  hevx: { container: 'heif', mediaType: 'image/heic-sequence' },
  avif: { container: 'heif', mediaType: 'image/avif' },
  avis: { container: 'heif', mediaType: 'image/avif' },
  mif1: { container: 'heif', mediaType: 'image/heif' },
  mif2: { container: 'heif', mediaType: 'image/heif' },
  msf1: { container: 'heif', mediaType: 'image/heif-sequence' },
  'crx ': { container: 'other', mediaType: 'image/x-canon-cr3' },
  'qt  ': { container: 'movie', mediaType: 'video/quicktime' },
  'M4V ': { container: 'movie', mediaType: 'video/x-m4v' },
  M4VH: { container: 'movie', mediaType: 'video/x-m4v' },
  M4VP: { container: 'movie', mediaType: 'video/x-m4v' },
  'M4A ': { container: 'movie', mediaType: 'audio/mp4' },
  'M4B ': { container: 'movie', mediaType: 'audio/mp4' },
  'M4P ': { container: 'movie', mediaType: 'audio/mp4' },
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
  return isBmp(head) ? { container: 'other', mediaType: 'image/bmp' } : undefined
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
    return { container: 'heif', mediaType: 'image/avif' }
  }
  if (known !== undefined) return known
  if (major.startsWith('3g2')) return { container: 'movie', mediaType: 'video/3gpp2' }
  if (/^3g[a-z]/.test(major)) return { container: 'movie', mediaType: 'video/3gpp' }
  const isQuickTime = compatible.includes('qt  ') && !compatible.some((brand) => /^(?:mp4[12]|avc1)$/.test(brand))
  return { container: 'movie', mediaType: isQuickTime ? 'video/quicktime' : 'video/mp4' }
}

function byForm(form: string): Sniffed | undefined {
  if (form === 'WEBP') return { container: 'webp', mediaType: 'image/webp' }
  return form === 'AVI ' ? { container: 'other', mediaType: 'video/x-msvideo' } : undefined
}
