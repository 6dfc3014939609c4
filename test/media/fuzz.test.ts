import { deflateSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { kindOf } from '../../src/media/media-type.ts'
import { localMonth, resolveCaptureTime } from '../../src/media/zone.ts'
import { avif, box, chunk, dng, heic, jpeg, mov, mp4, noise, png, segment, tiff, uint, webp } from '../support/media.ts'
import { fc } from '../support/property.ts'
import { rounds } from '../support/rounds.ts'
import { FORMS } from './forms.ts'
import { inspectBytes } from './inspecting.ts'

const EXIF = { date: '2024:07:01 19:30:05', offset: '+02:00' }
const MOVIE = { creationDate: '2024-07-01T19:30:05+0200', mvhd: new Date('2024-07-01T17:30:05Z') }

const MADE: readonly [string, Buffer][] = [
  ['JPEG', jpeg(EXIF)],
  ['HEIC', heic(EXIF)],
  ['HEIC in pieces', heic({ ...EXIF, exifAtEnd: true, extents: 5, ilocVersion: 2, tiles: 20 })],
  ['HEIC with idat', heic({ ...EXIF, exifInIdat: true })],
  ['AVIF', avif(EXIF)],
  ['PNG', png(EXIF)],
  ['PNG with EXIF at its end', png({ ...EXIF, exifAtEnd: true, size: 100_000 })],
  ['WebP', webp(EXIF)],
  ['TIFF', tiff({ ...EXIF, littleEndian: true })],
  ['DNG', dng(EXIF)],
  ['MOV', mov({ ...MOVIE, moovAtEnd: true, sampleTable: 500 })],
  ['MOV without ftyp', mov({ ...MOVIE, brands: [] })],
  ['MP4', mp4({ ...MOVIE, mvhdVersion: 1 })],
]

// Numbers that break what adds, multiplies or allocates.
const HOSTILE = [0, 1, 7, 8, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff8]
const BYTES = [0x00, 0xff, 0x7f, 0x80]

type Mutation = (file: Buffer) => Buffer

const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
const at = (file: Buffer, where: number) => Math.floor(where * file.length)

const truncate = place.map(
  (where): Mutation =>
    (file) =>
      file.subarray(0, at(file, where)),
)
const flip = fc.tuple(place, fc.nat(7)).map(
  ([where, bit]): Mutation =>
    (file) => {
      const index = at(file, where)
      file[index] = (file[index] ?? 0) ^ (1 << bit)
      return file
    },
)
const overwrite = fc.tuple(place, fc.constantFrom(...BYTES), fc.nat(16)).map(
  ([where, value, length]): Mutation =>
    (file) => {
      file.subarray(at(file, where), at(file, where) + length).fill(value)
      return file
    },
)
const lie = fc.tuple(place, fc.constantFrom(...HOSTILE), fc.constantFrom(2, 4, 8)).map(
  ([where, value, length]): Mutation =>
    (file) => {
      const number =
        length === 2 ? uint(2, value & 0xffff) : Buffer.concat([Buffer.alloc(length - 4, 0xff), uint(4, value)])
      number.copy(file, at(file, where))
      return file
    },
)
const splice = fc.tuple(place, place, place).map(
  ([from, to, into]): Mutation =>
    (file) => {
      const [start, end] = [at(file, from), at(file, to)].sort((a, b) => a - b)
      return Buffer.concat([file.subarray(0, at(file, into)), file.subarray(start, end), file.subarray(at(file, into))])
    },
)
const mutations = fc.array(fc.oneof(flip, lie, overwrite, splice, truncate), { minLength: 1, maxLength: 5 })
const sizes = fc.constantFrom<(length: number) => number>(
  (length) => length,
  (length) => length * 3,
  () => 2 ** 40,
)

async function expectHarmless(file: Buffer, size: number): Promise<void> {
  const { mediaType, kind, captured, reads, bytes, longestRead } = await inspectBytes(file, size)
  expect(reads).toBeLessThanOrEqual(200)
  expect(bytes).toBeLessThanOrEqual(1024 * 1024)
  expect(longestRead).toBeLessThanOrEqual(256 * 1024)
  expect(kind).toBe(kindOf(mediaType))
  if (captured === undefined) return
  const { instant, year, month } = resolveCaptureTime(captured, 'Europe/Berlin')
  expect(Number.isSafeInteger(instant)).toBe(true)
  expect(year).toBeGreaterThanOrEqual(1826)
  expect(year).toBeLessThanOrEqual('utc' in captured ? 10_000 : 9999)
  expect(month).toBeGreaterThanOrEqual(1)
  expect(month).toBeLessThanOrEqual(12)
  expect(localMonth(instant, 'UTC').year).toBeGreaterThanOrEqual(1825)
  if ('wallTime' in captured && captured.offsetMinutes !== undefined) {
    expect(Math.abs(captured.offsetMinutes)).toBeLessThanOrEqual(14 * 60)
  }
}

/** Of the forms in which dates are written, one of each sort: all of them are many. */
const SORTS: readonly (readonly [string, Buffer])[] = [
  'EXIF with CreateDate with its own offset in a JPEG',
  'EXIF with the satellites’ time in a WebP',
  'XMP with exif:DateTimeOriginal as an attribute in a JPEG',
  'XMP with a value with qualifiers in a HEIC',
  'XMP with exif:DateTimeOriginal in an MP4',
  'XMP with photoshop:DateCreated in a TIFF',
  'IPTC with a date and a time in a JPEG',
  'IPTC with a date and a time as numbers in a TIFF',
  'a JPEG with rubbish before it',
  'a JPEG with zeros between its segments',
  'a JPEG with EXIF in two segments',
  'a JPEG with XMP in UTF-16',
  'a JPEG with extended XMP',
  'a JPEG with IPTC behind other resources',
  'a PNG with a text "Creation Time"',
  'a PNG with a profile of EXIF',
  'a PNG with compressed XMP',
  'a PNG with EXIF behind the image and before another megabyte',
  'a movie with ©day in its user data',
  'a movie with ©day in its list of items',
  'a movie with XMP in its user data',
  'a movie with a header of zeros and a dated track',
].map((name) => [name, FORMS.find((form) => form.name === name)?.file ?? Buffer.alloc(0)])

describe('a damaged or hostile file', () => {
  it.each(SORTS)('that was %s costs little and yields no impossible date', async (_, original) => {
    expect(original.length).toBeGreaterThan(0)
    await fc.assert(
      fc.asyncProperty(mutations, sizes, async (changes, sizeOf) => {
        const file = changes.reduce<Buffer>((changed, change) => change(changed), Buffer.from(original))
        await expectHarmless(file, sizeOf(file.length))
      }),
      { numRuns: rounds(100) },
    )
  })

  it.each(MADE)('that was a %s costs little and yields no impossible date', async (_, original) => {
    await fc.assert(
      fc.asyncProperty(mutations, sizes, async (changes, sizeOf) => {
        const file = changes.reduce<Buffer>((changed, change) => change(changed), Buffer.from(original))
        await expectHarmless(file, sizeOf(file.length))
      }),
      { numRuns: rounds(400) },
    )
  })

  it.each(MADE)('that was a %s has its own date or none wherever it ends', async (_, original) => {
    const whole = await inspectBytes(original)
    expect(whole.date).toBe('2024-07-01T19:30:05+02:00')
    const step = Math.ceil(original.length / 500)
    for (let length = original.length - 1; length >= 300; length -= step) {
      const { date } = await inspectBytes(original.subarray(0, length))
      // The text of the offset may be what is cut off.
      expect([undefined, '2024-07-01T19:30:05', whole.date]).toContain(date)
    }
  })

  it('of random bytes behind a known beginning costs little and yields no impossible date', async () => {
    const starts = fc.constantFrom(...MADE.map(([, file]) => file.subarray(0, 32)), Buffer.alloc(0))
    await fc.assert(
      fc.asyncProperty(starts, fc.uint8Array({ maxLength: 2000 }), sizes, async (start, rest, sizeOf) => {
        const file = Buffer.concat([start, rest])
        await expectHarmless(file, sizeOf(file.length))
      }),
      { numRuns: rounds(1000) },
    )
  })

  const BOX = Buffer.concat([uint(4, 8), Buffer.from('free')])
  it.each<[string, Buffer]>([
    ['a JPEG of fill bytes only', Buffer.concat([Buffer.from('ffd8ff', 'hex'), Buffer.alloc(3_000_000, 0xff)])],
    ['a JPEG of empty segments', repeat(Buffer.from('ffd8', 'hex'), Buffer.from('ffe10002', 'hex'), 3_000_000)],
    ['a movie of empty boxes', repeat(mp4().subarray(0, 32), BOX, 3_000_000)],
    ['a HEIC of empty boxes', repeat(heic().subarray(0, 44), BOX, 3_000_000)],
    ['a WebP of empty chunks', repeat(webp().subarray(0, 12), Buffer.from('NOIS\0\0\0\0'), 3_000_000)],
    ['a PNG of empty chunks', repeat(png().subarray(0, 33), Buffer.from('\0\0\0\0noIs\0\0\0\0'), 3_000_000)],
    [
      'a PNG whose end is full of EXIF',
      repeat(png({ noExif: true }).subarray(0, -12), Buffer.from('\0\0\0\0eXIf'), 3_000_000),
    ],
    ['a JPEG of rubbish', Buffer.concat([Buffer.from('ffd8ffe0', 'hex'), Buffer.alloc(3_000_000, 'rubbish')])],
    ['a PNG of image chunks of no bytes', repeat(png().subarray(0, 33), chunk('IDAT', Buffer.alloc(0)), 3_000_000)],
    ['a PNG of image chunks of many sizes', manySizes()],
    ['a PNG of texts that grow a thousandfold', repeat(png().subarray(0, 33), bomb(), 3_000_000)],
    ['a movie of tracks', repeat(mp4().subarray(0, 32), box('moov', box('trak', box('mdia'))), 3_000_000)],
    ['a movie of one track after the other', tracks()],
    ['Photoshop’s resources without end', resources()],
    ['a movie in steps of a megabyte', steps(mp4().subarray(0, 32), 1_000_000, 400)],
    ['a TIFF whose directory is itself', Buffer.concat([Buffer.from('II*\0\x08\0\0\0', 'latin1'), circle()])],
  ])('as %s ends soon', async (_, file) => {
    expect((await inspectBytes(file)).captured).toBeUndefined()
    await expectHarmless(file, file.length)
  })

  it.each<[string, string]>([
    ['brackets', '<'],
    ['brackets and quotes', '<a b="'],
    ['quotes', '<a "\'"\'>'],
    ['attributes', '<a b="c" d=\'e\'>'],
    ['equals signs', '<a ='],
    ['comments', '<!--'],
    ['elements in elements', '<exif:DateTimeOriginal>'],
    ['dates', '<exif:DateTimeOriginal>2015-02-30T'],
    ['references', '<exif:DateTimeOriginal>&#'],
    ['namespaces', `<a xmlns:a="http://ns.adobe.com/exif/1.0/" xmlns:`],
    ['zeros', '<\0'],
  ])('of XMP that is all %s ends soon', async (_, piece) => {
    const packet = Buffer.alloc(256 * 1024, piece)
    for (const file of [inJpeg(packet), inMovie(packet)]) {
      await expectHarmless(file, file.length)
    }
  })

  it('with a hundred thousand extents, items or keys is not believed', async () => {
    const seed = noise(2_000_000, 'hostile')
    for (const [, original] of MADE) {
      for (const name of ['iloc', 'iinf', 'iref', 'keys', 'ilst', 'meta']) {
        const found = original.indexOf(name)
        if (found === -1) continue
        const file = Buffer.concat([original.subarray(0, found + 4), Buffer.alloc(8, 0xff), seed])
        for (let box = found - 4; box >= 0; box -= 1) {
          // Every box that holds this one has room for all of it.
          if (/^(?:iloc|iinf|iref|keys|ilst|meta|moov)$/.test(file.toString('latin1', box + 4, box + 8))) {
            file.writeUInt32BE(file.length - box, box)
          }
        }
        await expectHarmless(file, file.length)
      }
    }
  })
})

function inJpeg(packet: Buffer): Buffer {
  const xmp = segment(0xe1, Buffer.concat([Buffer.from('http://ns.adobe.com/xap/1.0/\0'), packet.subarray(0, 65_000)]))
  return Buffer.concat([Buffer.from('ffd8', 'hex'), xmp, jpeg({ noExif: true }).subarray(2)])
}

function inMovie(packet: Buffer): Buffer {
  return Buffer.concat([mp4(), box('uuid', Buffer.from('be7acfcb97a942e89c71999491e3afac', 'hex'), packet)])
}

function manySizes(): Buffer {
  const chunks = Array.from({ length: 2000 }, (_, index) => chunk('IDAT', noise(1000 + (index % 7), index)))
  return Buffer.concat([png().subarray(0, 33), ...chunks])
}

/** A megabyte of text takes a kilobyte here. */
function bomb(): Buffer {
  const text = deflateSync(Buffer.alloc(50_000_000, ' '))
  return chunk('zTXt', Buffer.concat([Buffer.from('Raw profile type exif\0\0'), text]))
}

function tracks(): Buffer {
  const track = box(
    'trak',
    box('tkhd', Buffer.alloc(20)),
    box('mdia', box('mdhd', Buffer.alloc(20)), Buffer.alloc(5000)),
  )
  return Buffer.concat([mp4().subarray(0, 32), box('moov', ...Array<Buffer>(500).fill(track))])
}

function resources(): Buffer {
  const empty = Buffer.from('8BIM\x04\x04\0\0\0\0\0\0', 'latin1')
  return Buffer.concat([
    Buffer.from('ffd8', 'hex'),
    segment(0xed, Buffer.concat([Buffer.from('Photoshop 3.0\0'), Buffer.alloc(60_000, empty)])),
    jpeg({ noExif: true }).subarray(2),
  ])
}

function repeat(start: Buffer, piece: Buffer, length: number): Buffer {
  return Buffer.concat([start, Buffer.alloc(length, piece)])
}

function steps(start: Buffer, step: number, count: number): Buffer {
  const body = Buffer.alloc(step * count)
  for (let index = 0; index < count; index += 1) {
    body.writeUInt32BE(step, index * step)
    body.write('free', index * step + 4)
  }
  return Buffer.concat([start, body])
}

/** One entry, at 8: the EXIF directory is at 8. */
function circle(): Buffer {
  return Buffer.from('\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\0\0\0\0', 'latin1')
}
