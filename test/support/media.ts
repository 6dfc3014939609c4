import { createCipheriv, createHash } from 'node:crypto'
import { crc32, deflateSync } from 'node:zlib'

/*
 * Small photos and videos, made in memory: enough of each format that ExifTool reads it without complaint. Every
 * function takes a `seed` that changes the content (equal seeds, equal bytes) and most a `size` in bytes, which the
 * result has exactly unless it needs more.
 */

export interface MediaOptions {
  size?: number
  seed?: number | string
}

export interface ExifOptions {
  /** DateTimeOriginal as EXIF writes it, `2024:07:01 19:30:05`; none without. */
  date?: string
  /** OffsetTimeOriginal, `+02:00`; none without. */
  offset?: string
  /** Apple's content identifier, a UUID; none without. */
  contentId?: string
  littleEndian?: boolean
}

export interface PhotoOptions extends MediaOptions, ExifOptions {
  /** Leaves EXIF out altogether. */
  noExif?: boolean
}

/** `length` bytes that look random and depend on `seed` alone. */
export function noise(length: number, seed: number | string = 0): Buffer {
  const key = createHash('sha256').update(String(seed)).digest()
  return createCipheriv('aes-128-ctr', key.subarray(0, 16), key.subarray(16)).update(Buffer.alloc(length))
}

/** An 8 x 8 grey picture that every decoder shows; EXIF in APP1, the noise behind the image. */
export function jpeg(options: PhotoOptions = {}): Buffer {
  const exif = options.noExif ? [] : [segment(0xe1, Buffer.concat([EXIF_MARK, exifBlock(options)]))]
  return filled(options, (content) => [GREY_JPEG.subarray(0, 2), ...exif, GREY_JPEG.subarray(2), content])
}

/** A JPEG segment: `marker` is its second byte. */
export function segment(marker: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.of(0xff, marker), uint(2, body.length + 2), body])
}

/** An 8 x 8 grey picture with an `eXIf` chunk, behind the image with `exifAtEnd`. */
export function png(options: PhotoOptions & { exifAtEnd?: boolean } = {}): Buffer {
  const header = chunk('IHDR', Buffer.from('00000008000000080800000000', 'hex'))
  const image = chunk('IDAT', deflateSync(Buffer.alloc(8 * 9, 128).fill(0, 0, 1)))
  const exif = options.noExif ? [] : [chunk('eXIf', exifBlock(options))]
  const body = options.exifAtEnd ? [image, ...exif] : [...exif, image]
  return filled(options, (content) => {
    const padding = chunk('noIs', content)
    const around = options.exifAtEnd ? [padding, ...body] : [...body, padding]
    return [Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), header, ...around, chunk('IEND', Buffer.alloc(0))]
  })
}

/** A PNG chunk with its checksum. */
export function chunk(type: string, body: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(type, 'latin1'), body])
  return Buffer.concat([uint(4, body.length), named, uint(4, crc32(named))])
}

/** A small lossless picture with its `EXIF` chunk last. RIFF counts in pairs: an odd `size` becomes one more. */
export function webp(options: PhotoOptions = {}): Buffer {
  const exif = options.noExif ? [] : [riffChunk('EXIF', exifBlock(options))]
  const features = riffChunk('VP8X', Buffer.from(`${options.noExif ? '00' : '08'}000000070000070000`, 'hex'))
  return filled(options, (content) => {
    const body = Buffer.concat([Buffer.from('WEBP'), features, GREY_VP8L, riffChunk('NOIS', content), ...exif])
    return [riffChunk('RIFF', body)]
  })
}

/** A chunk of a RIFF file, filled up to an even length. */
export function riffChunk(type: string, body: Buffer): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(body.length)
  return Buffer.concat([Buffer.from(type, 'latin1'), length, body, Buffer.alloc(body.length % 2)])
}

/** A 16 x 16 grey picture of noise. */
export function tiff(options: PhotoOptions = {}): Buffer {
  return filled(options, (content) => [tiffFile(options, [], content)], 256)
}

/** The same as a raw photo: what tells a DNG from a TIFF is the tag with its version. */
export function dng(options: PhotoOptions = {}): Buffer {
  const version = field(0xc612, 1, Buffer.of(1, 4, 0, 0))
  const model = ascii(0xc614, 'Apple iPhone')
  return filled(options, (content) => [tiffFile(options, [version, model], content)], 256)
}

export interface HeicOptions extends PhotoOptions {
  /** The Exif item stands behind the picture, as in edited photos; in front of it otherwise. */
  exifAtEnd?: boolean
  /** Puts the Exif item into the `idat` box (construction method 1; `iloc` 1 or 2), which old ExifTools don't read. */
  exifInIdat?: boolean
  ilocVersion?: 0 | 1 | 2
  /** Into how many pieces the Exif item is cut; the picture stands between them. */
  extents?: number
  /** How many picture tiles, which are items too, stand in the lists before the Exif item. */
  tiles?: number
  brands?: readonly string[]
}

/** The structure of an iPhone's HEIC; the picture itself is noise. */
export function heic(options: HeicOptions = {}): Buffer {
  const exif = options.noExif ? undefined : Buffer.concat([uint(4, 6), EXIF_MARK, exifBlock(options)])
  return filled(options, (content) => heicFile(options, exif, content))
}

/** The same as AVIF. */
export function avif(options: HeicOptions = {}): Buffer {
  return heic({ brands: ['avif', 'mif1', 'miaf'], ...options })
}

export interface MovieOptions extends MediaOptions {
  /** `com.apple.quicktime.creationdate`, `2024-07-01T19:30:05+0200`; none without. */
  creationDate?: string
  /** `com.apple.quicktime.content.identifier`, a UUID; none without. Needs a `creationDate`. */
  contentId?: string
  /** Creation time of the movie header: a date, or the number that the file holds (seconds since 1904). 0 without. */
  mvhd?: Date | number
  mvhdVersion?: 0 | 1
  /** As iPhones write it while they film; in front of the film otherwise. */
  moovAtEnd?: boolean
  /** How many bytes of sample tables stand in `moov` before the dates: megabytes in a long film. */
  sampleTable?: number
  /** The major brand and the compatible ones; with none there is no `ftyp`, as before 2001. */
  brands?: readonly string[]
}

/** The structure of an iPhone's video; the film itself is noise. */
export function mov(options: MovieOptions = {}): Buffer {
  const { head, tail } = movieAround(0, options)
  // A short header stands where movieAround has one for any size.
  return filled(options, (content) => [...head.slice(0, -1), box('mdat', content), ...tail])
}

/** The same as MP4; with `brands: ['M4V ']` as M4V. */
export function mp4(options: MovieOptions = {}): Buffer {
  return mov({ brands: ['isom', 'iso2', 'avc1', 'mp41'], ...options })
}

/** What stands before and behind `filmLength` bytes of film: for videos too large to be made in memory. */
export function movieAround(filmLength: number, options: MovieOptions = {}): { head: Buffer[]; tail: Buffer[] } {
  const { brands = ['qt  '] } = options
  const type = brands.length === 0 ? [] : [fileType(brands)]
  const film = Buffer.concat([uint(4, 1), Buffer.from('mdat'), uint(8, filmLength + 16)])
  const moov = movieBox(options)
  return options.moovAtEnd
    ? { head: [...type, box('wide'), film], tail: [moov] }
    : { head: [...type, moov, film], tail: [] }
}

/** A box of an ISO base media or QuickTime file. */
export function box(type: string, ...body: readonly Buffer[]): Buffer {
  const length = body.reduce((sum, each) => sum + each.length, 8)
  return Buffer.concat([uint(4, length), Buffer.from(type, 'latin1'), ...body])
}

/** `value` as `length` bytes, the highest first. */
export function uint(length: 1 | 2 | 4 | 8, value: number): Buffer {
  const bytes = Buffer.alloc(length)
  if (length === 8) bytes.writeBigUInt64BE(BigInt(value))
  else bytes.writeUIntBE(value, 0, length)
  return bytes
}

/** A TIFF structure with the dates of `options`, as every photo format embeds it. */
export function exifBlock(options: ExifOptions = {}): Buffer {
  return tiffBlock(options, [], 0)
}

function filled({ size = 0, seed }: MediaOptions, build: (content: Buffer) => Buffer[], least = 16): Buffer {
  const content = noise(least, seed)
  const smallest = Buffer.concat(build(content))
  return smallest.length >= size ? smallest : Buffer.concat(build(noise(least + size - smallest.length, seed)))
}

const GREY_JPEG = Buffer.from(
  '/9j/4AAQSkZJRgABAgAAAQABAAD/2wBDAAg+Pkk+SVVVVVVVVWRdZGhoaGRkZGRoaGhwcHCDg4NwcHBoaHBwfHyDg4+Tj4eHg4eTk5ubm7q6srLZ' +
    '2eD/////xABKAAEAAAAAAAAAAAAAAAAAAAAAAQEAAAAAAAAAAAAAAAAAAAAAEAEAAAAAAAAAAAAAAAAAAAAAEQEAAAAAAAAAAAAAAAAAAAAA' +
    '/8AAEQgACAAIAwESAAISAAMSAP/aAAwDAQACEQMRAD8AAA//2Q==',
  'base64',
)
const GREY_VP8L = riffChunk('VP8L', Buffer.from('2f07c001000750c00216b0ff8188e87f00', 'hex'))
const EXIF_MARK = Buffer.from('Exif\0\0', 'latin1')

interface Field {
  tag: number
  type: number
  count: number
  value: Buffer
}

function field(tag: number, type: number, value: Buffer, count = value.length): Field {
  return { tag, type, count, value }
}

function ascii(tag: number, text: string): Field {
  return field(tag, 2, Buffer.from(`${text}\0`, 'latin1'))
}

/** Apple's part of EXIF: a directory of its own, whose offsets count from the start of the note. */
function appleNote(contentId: string): Buffer {
  const entry = [uint(2, 0x0011), uint(2, 2), uint(4, contentId.length + 1), uint(4, 32)]
  return Buffer.concat([
    Buffer.from('Apple iOS\0\0\x01MM', 'latin1'),
    uint(2, 1),
    ...entry,
    uint(4, 0),
    Buffer.from(`${contentId}\0`, 'latin1'),
  ])
}

/** The directories of a TIFF. What others take for the capture date is in it too, and wrong. */
function tiffBlock(options: ExifOptions, more: readonly Field[], imageSize: number): Buffer {
  const { date, offset, contentId, littleEndian = false } = options
  const number = (bytes: 2 | 4, value: number) => (littleEndian ? uint(bytes, value).reverse() : uint(bytes, value))
  const long = (tag: number, value: number) => field(tag, 4, number(4, value), 1)
  const short = (tag: number, value: number) => field(tag, 3, Buffer.concat([number(2, value), number(2, 0)]), 1)

  function directory(fields: readonly Field[], start: number): Buffer {
    const entries: Buffer[] = [number(2, fields.length)]
    const values: Buffer[] = []
    let end = start + 2 + fields.length * 12 + 4
    for (const { tag, type, count, value } of [...fields].sort((a, b) => a.tag - b.tag)) {
      entries.push(number(2, tag), number(2, type), number(4, count))
      if (value.length <= 4) {
        entries.push(value, Buffer.alloc(4 - value.length))
        continue
      }
      entries.push(number(4, end))
      const even = Buffer.concat([value, Buffer.alloc(value.length % 2)])
      values.push(even)
      end += even.length
    }
    return Buffer.concat([...entries, number(4, 0), ...values])
  }

  const exif = [field(0x9000, 7, Buffer.from('0232')), ascii(0x9004, '9031:12:30 23:59:58')]
  if (date !== undefined) exif.push(ascii(0x9003, date))
  if (offset !== undefined) exif.push(ascii(0x9011, offset))
  if (contentId !== undefined) exif.push(field(0x927c, 7, appleNote(contentId)))
  const first = (exifAt: number, imageAt: number) => {
    const image = [
      short(0x100, 16),
      short(0x101, 16),
      short(0x102, 8),
      short(0x103, 1),
      short(0x106, 1),
      long(0x111, imageAt),
      short(0x115, 1),
      short(0x116, 16),
      long(0x117, imageSize),
    ]
    const about = [ascii(0x10f, 'Apple'), ascii(0x110, 'iPhone 16 Pro'), ascii(0x132, '9031:12:31 23:59:59')]
    return directory([...(imageSize === 0 ? [] : image), ...about, ...more, long(0x8769, exifAt)], 8)
  }
  const exifAt = 8 + first(0, 0).length
  const second = directory(exif, exifAt)
  const header = [Buffer.from(littleEndian ? 'II' : 'MM'), number(2, 42), number(4, 8)]
  return Buffer.concat([...header, first(exifAt, exifAt + second.length), second])
}

function tiffFile(options: PhotoOptions, more: readonly Field[], content: Buffer): Buffer {
  const { date, offset, noExif, ...rest } = options
  const dates = noExif ? {} : { ...(date !== undefined && { date }), ...(offset !== undefined && { offset }) }
  return Buffer.concat([tiffBlock({ ...rest, ...dates }, more, 256), content])
}

function fileType(brands: readonly string[]): Buffer {
  const names = brands.map((brand) => Buffer.from(brand, 'latin1'))
  return box('ftyp', ...names.slice(0, 1), uint(4, 0), ...names)
}

function heicFile(options: HeicOptions, exif: Buffer | undefined, content: Buffer): Buffer[] {
  const { ilocVersion = options.exifInIdat ? 1 : 0, extents = 1, tiles = 1 } = options
  const head = fileType(options.brands ?? ['heic', 'mif1', 'MiHE', 'MiPr', 'miaf', 'MiHB', 'heic'])
  const picture = options.brands?.[0] === 'avif' ? 'av01' : 'hvc1'
  const exifItem = tiles + 1
  const pieces = exif === undefined ? [] : cut(exif, extents)
  const inFile = options.exifInIdat ? [] : pieces
  const film = options.exifAtEnd ? [content, ...inFile] : [...inFile.slice(0, 1), content, ...inFile.slice(1)]

  const meta = (mdatAt: number) => {
    const id = (value: number) => uint(ilocVersion === 2 ? 4 : 2, value)
    const location = (item: number, method: number, where: readonly (readonly [at: number, length: number])[]) =>
      Buffer.concat([
        id(item),
        ilocVersion === 0 ? Buffer.alloc(0) : uint(2, method),
        uint(2, 0),
        uint(2, where.length),
        ...where.flatMap(([at, length]) => [uint(4, at), uint(4, length)]),
      ])
    const at = (piece: Buffer) =>
      mdatAt + film.slice(0, film.indexOf(piece)).reduce((sum, { length }) => sum + length, 0)
    const locations = Array.from({ length: tiles }, (_, tile) => location(tile + 1, 0, [[at(content), content.length]]))
    if (exif !== undefined) {
      const places = pieces.map((piece) => [at(piece), piece.length] as const)
      locations.push(options.exifInIdat ? location(exifItem, 1, [[0, exif.length]]) : location(exifItem, 0, places))
    }
    const infe = (item: number, type: string) =>
      box('infe', uint(4, 0x02000000), uint(2, item), uint(2, 0), Buffer.from(`${type}\0`))
    const items = Array.from({ length: tiles }, (_, tile) => infe(tile + 1, picture))
    if (exif !== undefined) items.push(infe(exifItem, 'Exif'))
    return box(
      'meta',
      uint(4, 0),
      box('hdlr', uint(4, 0), uint(4, 0), Buffer.from('pict'), Buffer.alloc(13)),
      box('pitm', uint(4, 0), uint(2, 1)),
      box('iinf', uint(4, 0), uint(2, items.length), ...items),
      ...(exif ? [box('iref', uint(4, 0), box('cdsc', uint(2, exifItem), uint(2, 1), uint(2, 1)))] : []),
      box(
        'iprp',
        box('ipco', box('ispe', uint(4, 0), uint(4, 16), uint(4, 16))),
        box('ipma', uint(4, 0), uint(4, 1), uint(2, 1), uint(1, 1), uint(1, 1)),
      ),
      ...(options.exifInIdat && exif ? [box('idat', exif)] : []),
      box(
        'iloc',
        uint(4, ilocVersion * 0x01000000),
        uint(2, 0x4400),
        ilocVersion === 2 ? uint(4, locations.length) : uint(2, locations.length),
        ...locations,
      ),
    )
  }
  return [head, meta(head.length + meta(0).length + 8), box('mdat', ...film)]
}

function cut(bytes: Buffer, count: number): Buffer[] {
  const step = Math.ceil(bytes.length / count)
  return Array.from({ length: count }, (_, index) => bytes.subarray(index * step, (index + 1) * step))
}

function movieBox({ creationDate, contentId, mvhd = 0, mvhdVersion = 0, sampleTable }: MovieOptions): Buffer {
  const seconds = typeof mvhd === 'number' ? mvhd : Math.floor(mvhd.getTime() / 1000) + 2_082_844_800
  const width = mvhdVersion === 0 ? 4 : 8
  const header = box(
    'mvhd',
    uint(4, mvhdVersion * 0x01000000),
    uint(width, seconds),
    uint(width, seconds),
    uint(4, 600),
    uint(width, 600),
    uint(4, 0x00010000),
    Buffer.alloc(72),
    uint(4, 2),
  )
  const track =
    sampleTable === undefined
      ? []
      : [box('trak', box('mdia', box('minf', box('stbl', box('stsz', Buffer.alloc(sampleTable))))))]
  return box('moov', header, ...track, ...(creationDate === undefined ? [] : [keysMeta(creationDate, contentId)]))
}

/** Metadata as iPhones write it: names in `keys`, values in `ilst`. */
function keysMeta(creationDate: string, contentId: string | undefined): Buffer {
  const id = contentId === undefined ? {} : { 'content.identifier': contentId }
  const values = { ...id, make: 'Apple', model: 'iPhone 16 Pro', creationdate: creationDate }
  const names = Object.keys(values).map((name) => box('mdta', Buffer.from(`com.apple.quicktime.${name}`)))
  const items = Object.values(values).map((value, index) => {
    const data = box('data', uint(4, 1), uint(4, 0), Buffer.from(value, 'latin1'))
    return Buffer.concat([uint(4, data.length + 8), uint(4, index + 1), data])
  })
  return box(
    'meta',
    box('hdlr', uint(4, 0), uint(4, 0), Buffer.from('mdta'), Buffer.alloc(14)),
    box('keys', uint(4, 0), uint(4, names.length), ...names),
    box('ilst', ...items),
  )
}
