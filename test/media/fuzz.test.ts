import { deflateSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { box, chunk, heic, jpeg, mp4, noise, png, segment, uint, webp } from '../support/media.ts'
import { checkHarmless } from './harmless.ts'
import { inspectBytes } from './inspecting.ts'
import { MADE } from './originals.ts'

describe('a damaged or hostile file', () => {
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
    await checkHarmless(file, file.length)
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
      await checkHarmless(file, file.length)
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
        await checkHarmless(file, file.length)
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
