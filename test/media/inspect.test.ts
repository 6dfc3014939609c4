import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { inspect } from '../../src/media/inspect.ts'
import {
  avif,
  box,
  chunk,
  dng,
  exifBlock,
  heic,
  jpeg,
  mov,
  movieAround,
  mp4,
  type PhotoOptions,
  png,
  riffChunk,
  segment,
  tiff,
  uint,
  webp,
} from '../support/media.ts'
import { dateText, inspectBytes, NOW } from './inspecting.ts'

const DATE = { date: '2024:07:01 19:30:05', offset: '+02:00' }
const SEEN = '2024-07-01T19:30:05+02:00'
const latin1 = (text: string) => Buffer.from(text, 'latin1')
const app1 = (options = DATE) => segment(0xe1, Buffer.concat([latin1('Exif\0\0'), exifBlock(options)]))

const PHOTOS: readonly [string, string, (options: PhotoOptions) => Buffer][] = [
  ['JPEG', 'image/jpeg', jpeg],
  ['HEIC', 'image/heic', heic],
  ['HEIC with EXIF at its end', 'image/heic', (options) => heic({ ...options, exifAtEnd: true })],
  ['AVIF', 'image/avif', avif],
  ['PNG', 'image/png', png],
  ['PNG with EXIF at its end', 'image/png', (options) => png({ ...options, exifAtEnd: true })],
  ['WebP', 'image/webp', webp],
  ['TIFF', 'image/tiff', tiff],
  ['DNG', 'image/x-adobe-dng', dng],
]

describe.each(PHOTOS)('a %s', (_, mediaType, make) => {
  it('is a photo with the date and offset of DateTimeOriginal', async () => {
    for (const littleEndian of [false, true]) {
      expect(await inspectBytes(make({ ...DATE, littleEndian }))).toMatchObject({
        mediaType,
        kind: 'photo',
        date: SEEN,
      })
    }
  })

  it('has no date from any other tag', async () => {
    expect(await inspectBytes(make({}))).toMatchObject({ mediaType, kind: 'photo', captured: undefined })
    expect(await inspectBytes(make({ noExif: true }))).toMatchObject({ mediaType, kind: 'photo', captured: undefined })
  })

  it('has a date without an offset where the offset is missing or impossible', async () => {
    for (const offset of [{}, { offset: '+99:00' }, { offset: '   :  ' }]) {
      expect((await inspectBytes(make({ date: DATE.date, ...offset }))).captured).toEqual({
        source: 'exif',
        wallTime: Date.UTC(2024, 6, 1, 19, 30, 5),
        offsetMinutes: undefined,
      })
    }
  })

  it.each(['0000:00:00 00:00:00', '2024:13:01 00:00:00', '2024:02:30 00:00:00', '2034:07:01 00:00:00'])(
    'has no date where it says %s',
    async (date) => {
      expect((await inspectBytes(make({ date, offset: '+02:00' }))).captured).toBeUndefined()
    },
  )

  it('costs three reads and a few kilobytes at most where it is large', async () => {
    const photo = make({ ...DATE, size: 5_000_000 })
    const { date, reads, bytes } = await inspectBytes(photo)
    expect(date).toBe(SEEN)
    expect(reads).toBeLessThanOrEqual(3)
    expect(bytes).toBeLessThanOrEqual(192 * 1024)
  })
})

describe('a TIFF', () => {
  it('may have its date in the first directory and its offset in that of EXIF, as raw photos do', async () => {
    const photo = tiff(DATE)
    const entry = photo.indexOf(Buffer.from('90030002', 'hex'))
    const moved = Buffer.from(photo)
    // ModifyDate becomes DateTimeOriginal, of a time that was, and that of the EXIF directory a tag without meaning.
    moved.write('2023:12:31', moved.indexOf('9031:12:31'))
    moved.writeUInt16BE(0x9003, photo.indexOf(Buffer.from('01320002', 'hex')))
    moved.writeUInt16BE(0x9099, entry)
    expect((await inspectBytes(moved)).date).toBe('2023-12-31T23:59:59+02:00')
  })
})

describe('EXIF', () => {
  it('may stand behind the mark that belongs to JPEG, as some software writes it', async () => {
    const marked = chunk('eXIf', Buffer.concat([latin1('Exif\0\0'), exifBlock(DATE)]))
    const photo = png({ noExif: true })
    expect((await inspectBytes(Buffer.concat([photo.subarray(0, -12), marked, photo.subarray(-12)]))).date).toBe(SEEN)
  })

  it('whose date is no text has no date', async () => {
    const photo = jpeg(DATE)
    photo.writeUInt16BE(3, photo.indexOf(Buffer.from('90030002', 'hex')) + 2)
    expect((await inspectBytes(photo)).captured).toBeUndefined()
  })

  it('whose values claim to be longer than all of it is not believed', async () => {
    const photo = jpeg({ ...DATE, offset: `+02:00${' '.repeat(200)}` })
    expect((await inspectBytes(photo)).date).toBe(SEEN)
    const entry = photo.indexOf(Buffer.from('90030002', 'hex'))
    expect(photo.readUInt32BE(entry + 4)).toBe(20)
    photo.writeUInt32BE(1_000_000, entry + 4)
    expect((await inspectBytes(photo)).captured).toBeUndefined()
  })
})

describe('a JPEG', () => {
  it('is walked through segments of any size, fill bytes and EXIF without a date', async () => {
    const profile = segment(0xe2, Buffer.alloc(65_000))
    const xmp = segment(0xe1, latin1('http://ns.adobe.com/xap/1.0/\0<x/>'))
    const filled = Buffer.concat([Buffer.alloc(5, 0xff), app1()])
    const before = [latin1('\xff\xd8'), xmp, profile, profile, segment(0xe1, latin1('Exif\0\0')), filled]
    expect((await inspectBytes(Buffer.concat([...before, jpeg().subarray(2)]))).date).toBe(SEEN)
  })

  it('has no date from what stands behind its image', async () => {
    const photo = Buffer.concat([jpeg({ noExif: true }), latin1('\xff\xd8'), app1()])
    expect((await inspectBytes(photo)).captured).toBeUndefined()
    const scan = Buffer.concat([latin1('\xff\xd8'), segment(0xda, Buffer.alloc(6)), app1()])
    expect((await inspectBytes(scan)).captured).toBeUndefined()
  })

  it('is walked through a thousand segments, not for ever', async () => {
    const behind = (count: number) =>
      Buffer.concat([latin1('\xff\xd8'), ...Array<Buffer>(count).fill(segment(0xfe, latin1('note'))), app1()])
    expect((await inspectBytes(Buffer.concat([behind(1000), jpeg().subarray(2)]))).date).toBe(SEEN)
    expect((await inspectBytes(Buffer.concat([behind(1100), jpeg().subarray(2)]))).date).toBeUndefined()
  })
})

describe('a chunk', () => {
  const inPng = png(DATE)
  const inWebp = webp(DATE)
  it.each<[string, Buffer, number, Buffer]>([
    ['PNG', inPng, inPng.indexOf('eXIf') - 4, chunk('noIs', Buffer.alloc(100))],
    ['WebP', inWebp, inWebp.indexOf('EXIF'), riffChunk('NOIS', Buffer.alloc(0))],
  ])('of EXIF in a %s may stand behind a thousand others, not behind any number', async (_, photo, start, other) => {
    const behind = (count: number) =>
      Buffer.concat([photo.subarray(0, start), ...Array<Buffer>(count).fill(other), photo.subarray(start)])
    expect((await inspectBytes(behind(1000))).date).toBe(SEEN)
    // In a PNG also the end is searched.
    const long = Buffer.concat([behind(1100), Buffer.alloc(300_000)])
    expect((await inspectBytes(long)).date).toBeUndefined()
  })
})

describe('a HEIC', () => {
  it.each([
    ['iloc of version 1', { ilocVersion: 1 }],
    ['iloc of version 2', { ilocVersion: 2 }],
    ['EXIF in idat', { exifInIdat: true }],
    ['EXIF in pieces', { extents: 7, exifAtEnd: true }],
    ['EXIF in pieces around the picture', { extents: 2, size: 3_000_000 }],
    ['hundreds of items', { tiles: 900, exifAtEnd: true }],
    ['a long list of brands', { brands: ['heic', ...Array<string>(200).fill('MiHE')] }],
  ] as const)('with %s is understood', async (_, options) => {
    expect(await inspectBytes(heic({ ...DATE, ...options }))).toMatchObject({ mediaType: 'image/heic', date: SEEN })
  })

  it('may have its EXIF in hundreds of pieces, not in any number', async () => {
    const long = { ...DATE, offset: `+02:00\0${' '.repeat(600)}`, exifAtEnd: true }
    expect((await inspectBytes(heic({ ...long, extents: 200 }))).date).toBe(SEEN)
    expect((await inspectBytes(heic({ ...long, extents: 300 }))).date).toBeUndefined()
  })

  it('may have its boxes behind thousands of others, not behind any number', async () => {
    const photo = heic({ ...DATE, exifInIdat: true })
    const metaAt = photo.indexOf('meta') - 4
    const behind = (count: number) =>
      Buffer.concat([photo.subarray(0, metaAt), ...Array<Buffer>(count).fill(box('free')), photo.subarray(metaAt)])
    expect((await inspectBytes(behind(4000))).date).toBe(SEEN)
    expect((await inspectBytes(behind(5000))).date).toBeUndefined()
  })

  it('may have boxes with long sizes, and a last one that reaches to the end', async () => {
    const photo = heic({ ...DATE, exifInIdat: true })
    const metaAt = photo.indexOf('meta') - 4
    const metaSize = photo.readUInt32BE(metaAt)
    const meta = photo.subarray(metaAt + 8, metaAt + metaSize)
    const long = Buffer.concat([uint(4, 1), latin1('meta'), uint(8, meta.length + 16), meta])
    const toTheEnd = Buffer.concat([uint(4, 0), latin1('meta'), meta])
    expect((await inspectBytes(Buffer.concat([photo.subarray(0, metaAt), long]))).date).toBe(SEEN)
    expect((await inspectBytes(Buffer.concat([photo.subarray(0, metaAt), toTheEnd]))).date).toBe(SEEN)
  })

  it('has the date of its primary picture if each of its pictures has one', async () => {
    // Items: 1 the primary picture, 2 another; 3 the Exif of the other, 4 that of the primary one.
    // The lists count with 32 bits, and something unknown stands before the TIFF header.
    const item = (options: typeof DATE) => Buffer.concat([uint(4, 5), latin1('other'), exifBlock(options)])
    const other = item({ ...DATE, date: '2020:01:01 00:00:00' })
    const primary = item(DATE)
    const infe = (id: number, type: string) =>
      box('infe', uint(4, 0x02000000), uint(2, id), uint(2, 0), latin1(`${type}\0`))
    const describes = (id: number, target: number) => box('cdsc', uint(2, id), uint(2, 1), uint(2, target))
    const location = (id: number, at: number, length: number) =>
      Buffer.concat([uint(2, id), uint(2, 1), uint(2, 0), uint(2, 1), uint(4, at), uint(4, length)])
    const meta = box(
      'meta',
      uint(4, 0),
      box('pitm', uint(4, 0), uint(2, 1)),
      box('iinf', uint(4, 0x01000000), uint(4, 4), infe(1, 'hvc1'), infe(2, 'hvc1'), infe(3, 'Exif'), infe(4, 'Exif')),
      box('iref', uint(4, 0), describes(3, 2), describes(4, 1)),
      box('idat', other, primary),
      box(
        'iloc',
        uint(4, 0x01000000),
        uint(2, 0x4400),
        uint(2, 2),
        location(3, 0, other.length),
        location(4, other.length, primary.length),
      ),
    )
    const photo = Buffer.concat([box('ftyp', latin1('heic\0\0\0\0heic')), meta])
    expect((await inspectBytes(photo)).date).toBe(SEEN)
  })
})

describe('a PNG', () => {
  it('is not misled by pixels that look like EXIF', async () => {
    const fake = Buffer.concat([uint(4, 30), latin1('eXIf'), exifBlock(DATE)])
    const photo = png({ noExif: true })
    const end = photo.length - 12
    const tail = [chunk('IDAT', fake), chunk('eXIf', exifBlock({ ...DATE, date: '2021:01:01 00:00:00' }))]
    expect((await inspectBytes(Buffer.concat([photo.subarray(0, end), ...tail, photo.subarray(end)]))).date).toBe(
      '2021-01-01T00:00:00+02:00',
    )
  })

  it('gives up where everything looks like EXIF', async () => {
    const photo = png({ ...DATE, exifAtEnd: true })
    const exifAt = photo.lastIndexOf('eXIf') - 4
    const behind = (count: number) =>
      Buffer.concat([photo.subarray(0, exifAt), Buffer.alloc(count * 8, '\0\0\0\0eXIf'), photo.subarray(exifAt)])
    expect((await inspectBytes(behind(7))).date).toBe(SEEN)
    expect((await inspectBytes(behind(8))).date).toBeUndefined()
  })
})

const UTC = new Date('2024-07-01T17:30:05Z')
const KEYS = { creationDate: '2024-07-01T19:30:05+0200', mvhd: new Date('2025-01-01T00:00:00Z') }

describe('a video', () => {
  it.each([
    ['MOV', 'video/quicktime', mov(KEYS)],
    ['MOV that ends with its moov', 'video/quicktime', mov({ ...KEYS, moovAtEnd: true })],
    ['MOV without ftyp', 'video/quicktime', mov({ ...KEYS, brands: [], moovAtEnd: true })],
    ['MP4', 'video/mp4', mp4(KEYS)],
    ['M4V', 'video/x-m4v', mp4({ ...KEYS, brands: ['M4V ', 'isom'] })],
  ])('as %s has the date of its creationdate, whatever its header says', async (_, mediaType, video) => {
    expect(await inspectBytes(video)).toMatchObject({ mediaType, kind: 'video', date: SEEN })
  })

  it('has the date of its header otherwise', async () => {
    for (const mvhdVersion of [0, 1] as const) {
      for (const creationDate of [{}, { creationDate: '0000-00-00T00:00:00Z' }, { creationDate: 'unknown' }]) {
        expect((await inspectBytes(mp4({ mvhd: UTC, mvhdVersion, ...creationDate }))).captured).toEqual({
          source: 'mvhd',
          utc: UTC.getTime(),
        })
      }
    }
  })

  it('has no date where its header says 1904', async () => {
    expect((await inspectBytes(mp4({ mvhd: 0 }))).captured).toBeUndefined()
  })

  it('may have its metadata in user data, as a full box, or behind a terminator of old', async () => {
    const plain = mov(KEYS)
    const meta = plain.subarray(plain.indexOf('meta') + 4, plain.indexOf('mdat') - 4)
    const moov = (...body: Buffer[]) => Buffer.concat([box('ftyp', latin1('qt  \0\0\0\0qt  ')), box('moov', ...body)])
    const full = box('meta', uint(4, 0), meta)
    expect((await inspectBytes(moov(full))).date).toBe(SEEN)
    expect((await inspectBytes(moov(box('udta', full)))).date).toBe(SEEN)
    expect((await inspectBytes(moov(box('udta', box('name'), uint(4, 0)), full))).date).toBe(SEEN)
  })

  it('is not read through its sample tables', async () => {
    const { date, bytes } = await inspectBytes(
      mov({ ...KEYS, sampleTable: 20_000_000, moovAtEnd: true, size: 30_000_000 }),
    )
    expect(date).toBe(SEEN)
    expect(bytes).toBeLessThanOrEqual(128 * 1024)
  })

  it('is no video if only its first letters look like one', async () => {
    expect(await inspectBytes(latin1('Set me free, why do not you, baby'.slice(3)))).toMatchObject({
      mediaType: undefined,
      kind: undefined,
    })
    expect(await inspectBytes(Buffer.concat([uint(4, 16), latin1('free for all')]))).toMatchObject({
      mediaType: undefined,
    })
  })
})

describe('a video of 4 GB', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'iclood-media-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  it('with its moov at its end is not read through', async () => {
    const length = 4 * 2 ** 30 + 12_345
    const { head, tail } = movieAround(length, { ...KEYS, moovAtEnd: true, sampleTable: 3_000_000 })
    const start = Buffer.concat(head)
    const end = Buffer.concat(tail)
    const file = await open(join(folder, 'long.mov'), 'wx+')
    try {
      await file.write(start, 0, start.length, 0)
      await file.write(end, 0, end.length, start.length + length)
      const { size } = await file.stat()
      let bytes = 0
      const facts = await inspect(
        async (position, wanted) => {
          const { buffer, bytesRead } = await file.read(Buffer.alloc(wanted), 0, wanted, position)
          bytes += bytesRead
          return buffer.subarray(0, bytesRead)
        },
        size,
        NOW,
      )
      expect(size).toBeGreaterThan(2 ** 32)
      expect(facts).toMatchObject({ mediaType: 'video/quicktime', kind: 'video' })
      expect(dateText(facts.captured)).toBe(SEEN)
      expect(bytes).toBeLessThanOrEqual(128 * 1024)
    } finally {
      await file.close()
    }
  })
})

describe('what is no photo or video', () => {
  it.each([
    ['nothing', Buffer.alloc(0)],
    ['one byte', Buffer.of(0xff)],
    ['a list of edits', latin1('<?xml version="1.0" encoding="UTF-8"?>\n<plist version="1.0"/>')],
    ['sound', riffChunk('RIFF', latin1('WAVEfmt '))],
  ])('%s has no type, no kind and no date', async (_, file) => {
    expect(await inspectBytes(file)).toMatchObject({ mediaType: undefined, kind: undefined, captured: undefined })
  })
})

describe('a file that cannot be read', () => {
  it('fails the inspection with its own error, at the first read and at a later one', async () => {
    const failure = Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' })
    await expect(inspect(() => Promise.reject(failure), 100, NOW)).rejects.toBe(failure)

    const video = mov({ ...KEYS, moovAtEnd: true, size: 1_000_000 })
    const second = inspect(
      async (position, length) => {
        if (position > 0) throw failure
        return video.subarray(position, position + length)
      },
      video.length,
      NOW,
    )
    await expect(second).rejects.toBe(failure)
  })
})
