import { deflateSync } from 'node:zlib'
import {
  box,
  chunk,
  exifBlock,
  heic,
  jpeg,
  type MovieOptions,
  mov,
  mp4,
  noise,
  png,
  riffChunk,
  segment,
  uint,
  webp,
} from '../support/media.ts'

/*
 * Every form in which a photo or video can say when it was taken, each in a file of its own with the date that counts.
 */

export interface Form {
  name: string
  extension: string
  file: Buffer
  /** As `inspectBytes` writes it; undefined for none. */
  date: string | undefined
  /** The older ExifTool of a test machine reads it otherwise, or not at all; why. */
  unjudged?: string
}

const DATE = '2015:08:22 12:20:56'
const OTHER = '2018:07:20 23:50:36'
const SEEN = '2015-08-22T12:20:56'
const latin1 = (text: string) => Buffer.from(text, 'latin1')
const BARE = { noExif: true }

// EXIF

interface TiffEntry {
  tag: number
  type: number
  value: Buffer
  count?: number
}

/** A TIFF with the directories of EXIF. Numbers in values are as they are given. */
export function tiffOf(directories: {
  first?: readonly TiffEntry[]
  exif?: readonly TiffEntry[]
  gps?: readonly TiffEntry[]
  little?: boolean
}): Buffer {
  const { first = [], exif, gps, little = false } = directories
  const number = (bytes: 2 | 4, value: number) => (little ? uint(bytes, value).reverse() : uint(bytes, value))
  const directory = (entries: readonly TiffEntry[], start: number): Buffer => {
    const values: Buffer[] = []
    let end = start + 2 + entries.length * 12 + 4
    const heads = entries
      .toSorted((a, b) => a.tag - b.tag)
      .map(({ tag, type, value, count = type === 4 ? value.length / 4 : value.length }) => {
        const head = [number(2, tag), number(2, type), number(4, count)]
        if (value.length <= 4) return Buffer.concat([...head, value, Buffer.alloc(4 - value.length)])
        const at = end
        values.push(value, Buffer.alloc(value.length % 2))
        end += value.length + (value.length % 2)
        return Buffer.concat([...head, number(4, at)])
      })
    return Buffer.concat([number(2, entries.length), ...heads, number(4, 0), ...values])
  }
  const firstAt = (exifAt: number, gpsAt: number) => {
    const pointers = [
      ...(exif === undefined ? [] : [{ tag: 0x8769, type: 4, value: number(4, exifAt) }]),
      ...(gps === undefined ? [] : [{ tag: 0x8825, type: 4, value: number(4, gpsAt) }]),
    ]
    return directory([...first, ...pointers], 8)
  }
  const exifAt = 8 + firstAt(0, 0).length
  const second = exif === undefined ? Buffer.alloc(0) : directory(exif, exifAt)
  const third = gps === undefined ? Buffer.alloc(0) : directory(gps, exifAt + second.length)
  const head = [latin1(little ? 'II' : 'MM'), number(2, 42), number(4, 8)]
  return Buffer.concat([...head, firstAt(exifAt, exifAt + second.length), second, third])
}

const ascii = (tag: number, text: string): TiffEntry => ({ tag, type: 2, value: latin1(`${text}\0`) })
const exifOf = (entries: TiffEntry[], first: TiffEntry[] = [], little = false) =>
  tiffOf({ first, exif: entries, little })
const app1 = (body: Buffer) => segment(0xe1, Buffer.concat([latin1('Exif\0\0'), body]))
/** A JPEG with `segments` before its image. */
const jpegWith = (...segments: Buffer[]) => {
  const plain = jpeg(BARE)
  return Buffer.concat([plain.subarray(0, 2), ...segments, plain.subarray(2)])
}

export const EXIF_FORMS: readonly [name: string, exif: Buffer, date: string | undefined][] = [
  ['DateTimeOriginal', exifOf([ascii(0x9003, DATE)]), SEEN],
  [
    'DateTimeOriginal, little-endian',
    exifOf([ascii(0x9003, DATE), ascii(0x9011, '-03:30')], [], true),
    `${SEEN}-03:30`,
  ],
  ['CreateDate', exifOf([ascii(0x9004, DATE)], [ascii(0x0132, OTHER)]), SEEN],
  [
    'CreateDate with its own offset',
    exifOf([ascii(0x9004, DATE), ascii(0x9011, '+01:00'), ascii(0x9012, '+09:00')]),
    `${SEEN}+09:00`,
  ],
  ['DateTimeOriginal before CreateDate', exifOf([ascii(0x9003, DATE), ascii(0x9004, OTHER)]), SEEN],
  ...['0000:00:00 00:00:00', '    :  :     :  :  ', '2099:01:01 00:00:00', '2015:02:30 00:00:00', '', 'unknown'].map(
    (damaged): [string, Buffer, string] => [
      `CreateDate behind a DateTimeOriginal of "${damaged}"`,
      exifOf([ascii(0x9003, damaged), ascii(0x9004, DATE)], [ascii(0x0132, OTHER)]),
      SEEN,
    ],
  ),
  ['DateTimeOriginal in the first directory', exifOf([], [ascii(0x9003, DATE)]), SEEN],
  ['a good one in the first directory', exifOf([ascii(0x9003, '0000:00:00 00:00:00')], [ascii(0x9003, DATE)]), SEEN],
  ['hour 24', exifOf([ascii(0x9003, '2015:08:22 24:08:19')]), '2015-08-22T00:08:19'],
  ['second 60', exifOf([ascii(0x9003, '2015:08:22 12:20:60')]), '2015-08-22T00:00:00'],
  ['minute 60', exifOf([ascii(0x9003, '2015:08:22 12:60:00')]), '2015-08-22T00:00:00'],
  ['a negative hour', exifOf([ascii(0x9003, '2015:08:22 -1:20:56')]), '2015-08-22T00:00:00'],
  ['no time', exifOf([ascii(0x9003, '2015:08:22   :  :  ')]), '2015-08-22T00:00:00'],
  ['ModifyDate', exifOf([ascii(0x9010, '+02:00')], [ascii(0x0132, DATE)]), `${SEEN}+02:00`],
  [
    'the satellites’ time',
    tiffOf({ gps: [ascii(0x1d, '2015:08:22'), rationals(0x07, [10, 1], [20, 1], [1132, 20])] }),
    '2015-08-22T10:20:56Z',
  ],
  [
    'ModifyDate before the satellites’ time',
    tiffOf({
      first: [ascii(0x0132, DATE)],
      gps: [ascii(0x1d, '2014:08:22'), rationals(0x07, [10, 1], [20, 1], [56, 1])],
    }),
    SEEN,
  ],
  [
    'nothing but zeros',
    exifOf(
      [ascii(0x9003, '0000:00:00 00:00:00'), ascii(0x9004, '0000:00:00 00:00:00')],
      [ascii(0x0132, '0000:00:00 00:00:00')],
    ),
    undefined,
  ],
  ['the day after tomorrow', exifOf([ascii(0x9003, '2026:11:29 12:00:01')]), undefined],
]

function rationals(tag: number, ...values: [number, number][]): TiffEntry {
  return { tag, type: 5, count: values.length, value: Buffer.concat(values.flat().map((value) => uint(4, value))) }
}

// XMP

const NAMESPACES =
  'xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" ' +
  'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
const RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
const xmp = (body: string, attributes = '') =>
  `<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF ${RDF}>` +
  `<rdf:Description rdf:about="" ${NAMESPACES} ${attributes}>${body}</rdf:Description>` +
  '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
const ISO = '2015-08-22T12:20:56'

export const XMP_FORMS: readonly [name: string, packet: Buffer, date: string | undefined][] = [
  ['exif:DateTimeOriginal', xmp(`<exif:DateTimeOriginal>${ISO}</exif:DateTimeOriginal>`), SEEN],
  ['exif:DateTimeOriginal as an attribute', xmp('', `exif:DateTimeOriginal='${ISO}+02:00'`), `${SEEN}+02:00`],
  ['photoshop:DateCreated', xmp(`<photoshop:DateCreated>${ISO}.25-04:00</photoshop:DateCreated>`), `${SEEN}-04:00`],
  [
    'photoshop:DateCreated, a day',
    xmp('<photoshop:DateCreated>2015-08-22</photoshop:DateCreated>'),
    '2015-08-22T00:00:00',
  ],
  ['xmp:CreateDate', xmp('', `xmp:CreateDate="${ISO}Z"`), `${SEEN}+00:00`],
  ['xmp:CreateDate without seconds', xmp('', 'xmp:CreateDate="2015-08-22T12:20+02:00"'), '2015-08-22T12:20:00+02:00'],
  [
    'all three, the least first',
    xmp(
      `<exif:DateTimeOriginal>${ISO}</exif:DateTimeOriginal>`,
      'xmp:CreateDate="2011-01-01T01:01:01" photoshop:DateCreated="2012-01-01T01:01:01"',
    ),
    SEEN,
  ],
  [
    'a damaged one before a good one',
    xmp('', `exif:DateTimeOriginal="0000-00-00T00:00:00" xmp:CreateDate="${ISO}"`),
    SEEN,
  ],
  [
    'namespaces under other names',
    xmp('', `e:DateTimeOriginal="${ISO}" xmlns:e="http://ns.adobe.com/exif/1.0/"`),
    SEEN,
  ],
  ['the old name of xmp', xmp('', `xmlns:xap="http://ns.adobe.com/xap/1.0/" xap:CreateDate="${ISO}"`), SEEN],
  [
    'a value with qualifiers',
    xmp(`<exif:DateTimeOriginal rdf:parseType="Resource"><rdf:value>${ISO}</rdf:value></exif:DateTimeOriginal>`),
    SEEN,
  ],
  [
    'a described value',
    xmp(`<exif:DateTimeOriginal><rdf:Description rdf:value="${ISO}"/></exif:DateTimeOriginal>`),
    SEEN,
  ],
  ['a list', xmp(`<exif:DateTimeOriginal><rdf:Seq><rdf:li>${ISO}</rdf:li></rdf:Seq></exif:DateTimeOriginal>`), SEEN],
  [
    'references to characters',
    xmp('<exif:DateTimeOriginal>2015&#45;08&#x2D;22T12:20:56</exif:DateTimeOriginal>'),
    SEEN,
  ],
  [
    'a comment in front',
    xmp(
      '<!-- <exif:DateTimeOriginal>2011-01-01T01:01:01</exif:DateTimeOriginal> -->' +
        `<exif:DateTimeOriginal>${ISO}</exif:DateTimeOriginal>`,
    ),
    SEEN,
  ],
  [
    'a > in an attribute',
    xmp(`<exif:DateTimeOriginal>${ISO}</exif:DateTimeOriginal>`, 'photoshop:Headline="a > b"'),
    SEEN,
  ],
  ['a year alone', xmp('', 'xmp:CreateDate="2015"'), undefined],
  ['xmp:ModifyDate', xmp('', `xmp:ModifyDate="${ISO}+02:00"`), `${SEEN}+02:00`],
].map(([name, packet, date]) => [String(name), Buffer.from(String(packet)), date])

const PACKET = Buffer.from(xmp(`<exif:DateTimeOriginal>${ISO}</exif:DateTimeOriginal>`))
const WIDE = Buffer.from(PACKET.toString(), 'utf16le')
const XMP_MARK = latin1('http://ns.adobe.com/xap/1.0/\0')

// IPTC

const dataSet = (number: number, text: string) =>
  Buffer.concat([Buffer.of(0x1c, 2, number), uint(2, text.length), latin1(text)])
const resource = (id: number, body: Buffer, name = '') =>
  Buffer.concat([
    latin1('8BIM'),
    uint(2, id),
    Buffer.of(name.length),
    latin1(name),
    Buffer.alloc(1 - (name.length % 2)),
    uint(4, body.length),
    body,
    Buffer.alloc(body.length % 2),
  ])
const PHOTOSHOP = latin1('Photoshop 3.0\0')
const app13 = (body: Buffer) => segment(0xed, Buffer.concat([PHOTOSHOP, body]))
const VERSION = Buffer.concat([Buffer.of(0x1c, 2, 0), uint(2, 2), uint(2, 4)])

export const IPTC_FORMS: readonly [name: string, iptc: Buffer, date: string | undefined][] = [
  ['a date and a time', Buffer.concat([VERSION, dataSet(55, '20150822'), dataSet(60, '122056+0200')]), `${SEEN}+02:00`],
  ['a date', Buffer.concat([dataSet(5, 'Title'), dataSet(55, '20150822')]), '2015-08-22T00:00:00'],
  ['a time without an offset', Buffer.concat([dataSet(60, '122056'), dataSet(55, '20150822')]), SEEN],
  [
    'an impossible time',
    Buffer.concat([dataSet(55, '20150822'), dataSet(60, '256060+0000')]),
    '2015-08-22T00:00:00+00:00',
  ],
  [
    'a digital creation date',
    Buffer.concat([dataSet(55, '00000000'), dataSet(62, '20150822'), dataSet(63, '122056-0500')]),
    `${SEEN}-05:00`,
  ],
  ['no date', Buffer.concat([dataSet(55, '20150000'), dataSet(60, '122056+0200')]), undefined],
]
const IPTC = Buffer.concat([VERSION, dataSet(55, '20150822'), dataSet(60, '122056+0200')])

// JPEG

const GOOD = exifBlock({ date: DATE })
const LONG = exifBlock({ date: DATE, offset: `+02:00\0${' '.repeat(60_000)}` })
const GUID = '0123456789ABCDEF0123456789ABCDEF'
const extended = (packet: Buffer, offset: number, total: number, guid = GUID) =>
  segment(
    0xe1,
    Buffer.concat([latin1(`http://ns.adobe.com/xmp/extension/\0${guid}`), uint(4, total), uint(4, offset), packet]),
  )
const pointing = Buffer.from(xmp('', `xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="${GUID}"`))
const xmpSegment = (packet: Buffer, mark = XMP_MARK) => segment(0xe1, Buffer.concat([mark, packet]))

const JPEGS: readonly [name: string, file: Buffer, date: string | undefined, unjudged?: string][] = [
  ['rubbish before it', Buffer.concat([latin1('rubbish\xff\0!'), jpegWith(app1(GOOD))]), SEEN],
  ['a thousand bytes before it', Buffer.concat([Buffer.alloc(1000), jpegWith(app1(GOOD))]), SEEN],
  [
    'three bytes between its segments',
    jpegWith(segment(0xe0, latin1('JFIF\0\x01\x02\0\0\x01\0\x01\0\0')), latin1('abc'), app1(GOOD)),
    SEEN,
  ],
  ['zeros between its segments', jpegWith(segment(0xfe, latin1('note')), Buffer.alloc(5000), app1(GOOD)), SEEN],
  ['fill bytes between its segments', jpegWith(Buffer.alloc(100, 0xff), app1(GOOD)), SEEN],
  ['a second start of image', jpegWith(latin1('\xff\xd8'), app1(GOOD)), SEEN],
  ['EXIF in two segments', jpegWith(app1(LONG.subarray(0, 200)), app1(LONG.subarray(200))), `${SEEN}+02:00`],
  [
    'EXIF in three segments',
    jpegWith(app1(LONG.subarray(0, 30)), app1(LONG.subarray(30, 20_000)), app1(LONG.subarray(20_000))),
    `${SEEN}+02:00`,
  ],
  [
    'a second EXIF behind a damaged one',
    jpegWith(app1(exifOf([ascii(0x9003, '0000:00:00 00:00:00')])), app1(GOOD)),
    SEEN,
  ],
  ['EXIF behind four bytes', jpegWith(segment(0xe1, Buffer.concat([latin1('\xff\xe1\0\0Exif\0\0'), GOOD]))), SEEN],
  [
    'XMP before EXIF',
    jpegWith(xmpSegment(Buffer.from(xmp('', 'xmp:CreateDate="2011-01-01T01:01:01"'))), app1(GOOD)),
    SEEN,
  ],
  ['XMP behind EXIF without a date', jpegWith(app1(exifOf([], [ascii(0x0132, OTHER)])), xmpSegment(PACKET)), SEEN],
  ['XMP under no name', jpegWith(xmpSegment(PACKET, latin1('XMP\0'))), SEEN],
  ['XMP in UTF-16', jpegWith(xmpSegment(Buffer.concat([latin1('\xff\xfe'), WIDE]))), SEEN],
  [
    'XMP in big-endian UTF-16',
    jpegWith(xmpSegment(Buffer.concat([latin1('\xfe\xff'), Buffer.from(WIDE).swap16()]))),
    SEEN,
  ],
  [
    'extended XMP',
    jpegWith(
      xmpSegment(pointing),
      extended(PACKET.subarray(0, 100), 0, PACKET.length),
      extended(PACKET.subarray(100), 100, PACKET.length),
    ),
    SEEN,
  ],
  [
    'extended XMP out of order',
    jpegWith(
      extended(PACKET.subarray(100), 100, PACKET.length),
      xmpSegment(pointing),
      extended(PACKET.subarray(0, 100), 0, PACKET.length),
    ),
    SEEN,
  ],
  [
    'another file’s extended XMP',
    jpegWith(xmpSegment(pointing), extended(PACKET, 0, PACKET.length, 'F'.repeat(32))),
    undefined,
  ],
  [
    'IPTC behind other resources',
    jpegWith(app13(Buffer.concat([resource(0x03ed, noise(17), 'odd'), resource(0x0404, IPTC)]))),
    `${SEEN}+02:00`,
  ],
  [
    'IPTC in two segments',
    jpegWith(app13(resource(0x0404, IPTC).subarray(0, 20)), app13(resource(0x0404, IPTC).subarray(20))),
    `${SEEN}+02:00`,
  ],
  ['XMP in Photoshop’s resources', jpegWith(app13(resource(0x0424, PACKET))), SEEN],
]

// PNG

const pngWith = (...chunks: Buffer[]) => {
  const plain = png(BARE)
  return Buffer.concat([plain.subarray(0, 33), ...chunks, plain.subarray(33)])
}
/** Behind `count` chunks of image, each of `length` bytes, and `tail` bytes of something else behind it. */
const pngBehind = (last: Buffer, count: number, length: number, tail = 0, isUneven = false) => {
  const plain = png(BARE)
  const image = deflateSync(noise(count * length, 'image'), { level: 0 })
  const cut = (index: number) => index * length + (isUneven ? (index * 37) % 50 : 0)
  const chunks = Array.from({ length: Math.ceil(image.length / length) }, (_, index) =>
    chunk('IDAT', image.subarray(cut(index), cut(index + 1))),
  )
  return Buffer.concat([
    plain.subarray(0, 33),
    ...chunks,
    last,
    chunk('noIs', noise(tail)),
    chunk('IEND', Buffer.alloc(0)),
  ])
}
const tEXt = (keyword: string, text: string) => chunk('tEXt', latin1(`${keyword}\0${text}`))
const zTXt = (keyword: string, text: string) =>
  chunk('zTXt', Buffer.concat([latin1(`${keyword}\0\0`), deflateSync(latin1(text))]))
const iTXt = (keyword: string, text: Buffer, isCompressed = false) =>
  chunk(
    'iTXt',
    Buffer.concat([
      latin1(`${keyword}\0`),
      Buffer.of(isCompressed ? 1 : 0, 0),
      latin1('\0\0'),
      isCompressed ? deflateSync(text) : text,
    ]),
  )
const profile = (name: string, body: Buffer) =>
  `\n${name}\n${String(body.length).padStart(8)}\n${body.toString('hex').replace(/.{72}/g, '$&\n')}\n`
const MARKED = Buffer.concat([latin1('Exif\0\0'), GOOD])

const PNGS: readonly [name: string, file: Buffer, date: string | undefined, unjudged?: string][] = [
  ['a text "Creation Time"', pngWith(tEXt('Creation Time', 'Sat, 22 Aug 2015 12:20:56 +0200')), `${SEEN}+02:00`],
  [
    'a text "Creation Time" of a zone',
    pngWith(tEXt('Creation Time', 'Sat, 22 Aug 2015 12:20:56 EST')),
    `${SEEN}-05:00`,
  ],
  ['a text "Creation Time" of ISO', pngWith(zTXt('Creation Time', `${ISO}+02:00`)), `${SEEN}+02:00`],
  ['a text "Creation Time" as EXIF writes it', pngWith(iTXt('Creation Time', latin1(DATE), true)), SEEN],
  ['a text "create-date"', pngWith(tEXt('create-date', `${ISO}+02:00`)), `${SEEN}+02:00`],
  ['a profile of EXIF', pngWith(zTXt('Raw profile type exif', profile('exif', MARKED))), SEEN],
  ['a profile of EXIF that is a TIFF', pngWith(tEXt('Raw profile type exif', profile('exif', GOOD))), SEEN],
  ['a profile of EXIF under APP1', pngWith(zTXt('Raw profile type APP1', profile('generic profile', MARKED))), SEEN],
  [
    'a profile of XMP under APP1',
    pngWith(zTXt('Raw profile type APP1', profile('generic profile', Buffer.concat([XMP_MARK, PACKET])))),
    SEEN,
  ],
  ['a profile of XMP', pngWith(tEXt('Raw profile type xmp', profile('xmp', PACKET))), SEEN],
  [
    'a profile of IPTC',
    pngWith(zTXt('Raw profile type iptc', profile('iptc', resource(0x0404, IPTC)))),
    `${SEEN}+02:00`,
  ],
  ['a profile of bare IPTC', pngWith(zTXt('Raw profile type iptc', profile('iptc', IPTC))), `${SEEN}+02:00`],
  ['XMP', pngWith(iTXt('XML:com.adobe.xmp', PACKET)), SEEN],
  ['compressed XMP', pngWith(iTXt('XML:com.adobe.xmp', PACKET, true)), SEEN],
  [
    'the time of its last change',
    pngWith(chunk('tIME', Buffer.concat([uint(2, 2015), Buffer.of(8, 22, 12, 20, 56)]))),
    `${SEEN}Z`,
  ],
  ['EXIF behind texts', pngWith(tEXt('Creation Time', 'Sat, 22 Aug 2011 12:20:56 +0200'), chunk('eXIf', GOOD)), SEEN],
  ['EXIF behind 5 MB in pieces of 8 kB', pngBehind(chunk('eXIf', GOOD), 640, 8192), SEEN],
  ['EXIF behind the image and before another megabyte', pngBehind(chunk('eXIf', GOOD), 40, 8192, 1_000_000), SEEN],
  [
    'EXIF behind 10 MB in pieces of 1 kB and before another megabyte',
    pngBehind(chunk('eXIf', GOOD), 10_000, 1024, 1_000_000),
    SEEN,
  ],
  ['EXIF behind pieces of many sizes, before 200 kB', pngBehind(chunk('eXIf', GOOD), 300, 8192, 200_000, true), SEEN],
  ['XMP behind the image', pngBehind(iTXt('XML:com.adobe.xmp', PACKET), 100, 8192, 200_000), SEEN],
]

// Movies

const EXPORTED = new Date('2022-12-31T00:00:00Z')
const seconds = (date: string) => Math.floor(new Date(date).getTime() / 1000) + 2_082_844_800
const TAKEN = seconds('2015-08-22T10:20:56Z')
/** A movie whose `moov` has `inner` behind its header. */
const movieWith = (options: MovieOptions, ...inner: Buffer[]) => {
  const plain = mov(options)
  const at = plain.indexOf('moov') - 4
  const size = plain.readUInt32BE(at)
  return Buffer.concat([
    plain.subarray(0, at),
    box('moov', plain.subarray(at + 8, at + size), ...inner),
    plain.subarray(at + size),
  ])
}
const userText = (text: string) => Buffer.concat([uint(2, text.length), uint(2, 0x15c7), latin1(text)])
const header = (type: string, version: 0 | 1, created: number) =>
  box(
    type,
    uint(4, version * 0x01000000 + (type === 'tkhd' ? 7 : 0)),
    uint(version === 0 ? 4 : 8, created),
    uint(version === 0 ? 4 : 8, created),
    Buffer.alloc(80),
  )
const track = (tkhd: number, mdhd: number, version: 0 | 1 = 0) =>
  box('trak', header('tkhd', version, tkhd), box('mdia', header('mdhd', version, mdhd), box('minf')))
const handler = (type: string) => box('hdlr', uint(4, 0), uint(4, 0), latin1(type), Buffer.alloc(13))
const itemList = (text: string) =>
  box(
    'meta',
    uint(4, 0),
    handler('mdir'),
    box('ilst', box('\xa9day', box('data', uint(4, 1), uint(4, 0), latin1(text)))),
  )
const XMP_UUID = Buffer.from('be7acfcb97a942e89c71999491e3afac', 'hex')
const MDAY = '2015-08-22T12:20:56+0200'

const MOVIES: readonly [name: string, file: Buffer, date: string | undefined, unjudged?: string][] = [
  [
    '©day in its user data',
    movieWith({ mvhd: EXPORTED }, box('udta', box('\xa9day', userText(MDAY)))),
    `${SEEN}+02:00`,
  ],
  ['©day in its list of items', movieWith({ mvhd: EXPORTED }, box('udta', itemList(MDAY))), `${SEEN}+02:00`],
  [
    '©day in its user data behind another one in a list',
    movieWith({ mvhd: EXPORTED }, box('udta', itemList('2011-01-01T00:00:00+0200'), box('\xa9day', userText(MDAY)))),
    `${SEEN}+02:00`,
  ],
  ['a ©day that is a year', movieWith({ mvhd: EXPORTED }, box('udta', itemList('2015'))), '2022-12-31T00:00:00Z'],
  [
    'creationdate before ©day',
    movieWith(
      { creationDate: MDAY, mvhd: EXPORTED },
      box('udta', box('\xa9day', userText('2011-01-01T00:00:00+0200'))),
    ),
    `${SEEN}+02:00`,
  ],
  ['XMP in its user data', movieWith({ mvhd: EXPORTED }, box('udta', box('XMP_', PACKET))), SEEN],
  ['XMP behind the film', Buffer.concat([mp4({ mvhd: EXPORTED }), box('uuid', XMP_UUID, PACKET)]), SEEN],
  [
    'XMP before the movie',
    Buffer.concat([
      mp4({ mvhd: EXPORTED }).subarray(0, 32),
      box('uuid', XMP_UUID, PACKET),
      mp4({ mvhd: EXPORTED }).subarray(32),
    ]),
    SEEN,
  ],
  ['a header of zeros and dated media', movieWith({ mvhd: 0 }, track(0, TAKEN)), '2015-08-22T10:20:56Z'],
  ['a header of zeros and a dated track', movieWith({ mvhd: 0 }, track(TAKEN, 0, 1)), '2015-08-22T10:20:56Z'],
  [
    'a header of ones and dated media',
    movieWith({ mvhd: 0xffffffff }, track(0, 0), track(seconds('2011-01-01T00:00:00Z'), TAKEN)),
    '2015-08-22T10:20:56Z',
    'ExifTool takes 2040 for a date',
  ],
  [
    'a header of the future',
    movieWith({ mvhd: new Date('2030-01-01T00:00:00Z') }, track(TAKEN, TAKEN)),
    '2015-08-22T10:20:56Z',
  ],
  ['only zeros', movieWith({ mvhd: 0 }, track(0, 0)), undefined],
]

const HEIC = heic(BARE)
/** A HEIC whose only item beside its picture is `data`; `type` is that of the item, and of what `mime` holds. */
function heicWith(type: string, data: Buffer): Buffer {
  const infe = (id: number, of: string) => box('infe', uint(4, 0x02000000), uint(2, id), uint(2, 0), latin1(`${of}\0`))
  const head = HEIC.subarray(0, HEIC.readUInt32BE(0))
  const meta = (at: number) =>
    box(
      'meta',
      uint(4, 0),
      handler('pict'),
      box('pitm', uint(4, 0), uint(2, 1)),
      box('iinf', uint(4, 0), uint(2, 2), infe(1, 'hvc1'), infe(2, type)),
      box('iref', uint(4, 0), box('cdsc', uint(2, 2), uint(2, 1), uint(2, 1))),
      box(
        'iloc',
        ...[
          uint(4, 0),
          uint(2, 0x4400),
          uint(2, 1),
          uint(2, 2),
          uint(2, 0),
          uint(2, 1),
          uint(4, at),
          uint(4, data.length),
        ],
      ),
    )
  return Buffer.concat([head, meta(head.length + meta(0).length + 8), box('mdat', data)])
}
const exifHeic = (exif: Buffer) => heicWith('Exif\0', Buffer.concat([uint(4, 6), latin1('Exif\0\0'), exif]))
const xmpHeic = (packet: Buffer) => heicWith('mime\0application/rdf+xml', packet)
const webpWith = (...chunks: Buffer[]) => {
  const plain = webp(BARE)
  return riffChunk('RIFF', Buffer.concat([plain.subarray(8), ...chunks]))
}

export const FORMS: readonly Form[] = [
  ...EXIF_FORMS.flatMap(([name, exif, date]): Form[] => [
    { name: `EXIF with ${name} in a JPEG`, extension: 'jpg', file: jpegWith(app1(exif)), date },
    { name: `EXIF with ${name} in a PNG`, extension: 'png', file: pngWith(chunk('eXIf', exif)), date },
    { name: `EXIF with ${name} in a WebP`, extension: 'webp', file: webpWith(riffChunk('EXIF', exif)), date },
    { name: `EXIF with ${name} in a HEIC`, extension: 'heic', file: exifHeic(exif), date },
    { name: `EXIF with ${name} as a TIFF`, extension: 'tif', file: exif, date },
  ]),
  ...XMP_FORMS.flatMap(([name, packet, date]): Form[] => [
    { name: `XMP with ${name} in a JPEG`, extension: 'jpg', file: jpegWith(xmpSegment(packet)), date },
    { name: `XMP with ${name} in a PNG`, extension: 'png', file: pngWith(iTXt('XML:com.adobe.xmp', packet)), date },
    { name: `XMP with ${name} in a WebP`, extension: 'webp', file: webpWith(riffChunk('XMP ', packet)), date },
    { name: `XMP with ${name} in a HEIC`, extension: 'heic', file: xmpHeic(packet), date },
    {
      name: `XMP with ${name} in a TIFF`,
      extension: 'tif',
      file: tiffOf({ first: [{ tag: 0x02bc, type: 1, value: packet }] }),
      date,
    },
    {
      name: `XMP with ${name} in an MP4`,
      extension: 'mp4',
      file: Buffer.concat([mp4({ mvhd: 0 }), box('uuid', XMP_UUID, packet)]),
      date,
    },
  ]),
  ...IPTC_FORMS.flatMap(([name, iptc, date]): Form[] => [
    { name: `IPTC with ${name} in a JPEG`, extension: 'jpg', file: jpegWith(app13(resource(0x0404, iptc))), date },
    {
      name: `IPTC with ${name} in a TIFF`,
      extension: 'tif',
      file: tiffOf({ first: [{ tag: 0x83bb, type: 7, value: iptc }] }),
      date,
    },
    {
      name: `IPTC with ${name} as numbers in a TIFF`,
      extension: 'tif',
      file: tiffOf({ little: true, first: [{ tag: 0x83bb, type: 4, value: asNumbers(iptc) }] }),
      date,
    },
    {
      name: `IPTC with ${name} in the resources of a TIFF`,
      extension: 'tif',
      file: tiffOf({ first: [{ tag: 0x8649, type: 7, value: resource(0x0404, iptc) }] }),
      date,
      unjudged: 'ExifTool does not look into them',
    },
  ]),
  ...[
    ...JPEGS.map((form) => ['JPEG', 'jpg', ...form] as const),
    ...PNGS.map((form) => ['PNG', 'png', ...form] as const),
    ...MOVIES.map((form) => ['movie', 'mov', ...form] as const),
  ].map(
    ([kind, extension, name, file, date, unjudged]): Form => ({
      name: `a ${kind} with ${name}`,
      extension,
      file,
      date,
      ...(unjudged !== undefined && { unjudged }),
    }),
  ),
]

/** In the order of a little-endian file's numbers. */
function asNumbers(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]).swap32()
}
