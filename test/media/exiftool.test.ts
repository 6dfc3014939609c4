import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { asUtc, parseDate } from '../../src/media/capture-date.ts'
import { Found } from '../../src/media/found.ts'
import {
  avif,
  dng,
  heic,
  jpeg,
  type MovieOptions,
  mov,
  mp4,
  type PhotoOptions,
  png,
  tiff,
  webp,
} from '../support/media.ts'
import { command, needs } from '../support/needs.ts'
import { fc } from '../support/property.ts'
import { FORMS } from './forms.ts'
import { dateText, inspectBytes, NOW } from './inspecting.ts'

const SAMPLES = join(import.meta.dirname, '../../../shared/samples')
const samples = existsSync(SAMPLES) ? undefined : 'sample media in ../shared/samples'
const exiftool = command('exiftool', 'libimage-exiftool-perl')

/** What the samples' own table says of their dates; `null` for none. */
const SAMPLE_DATES: Readonly<Record<string, readonly [mediaType: string | undefined, date: string | null]>> = {
  'aae-synth.AAE': [undefined, null],
  'hevc-synth.mov': ['video/quicktime', '2024-07-01T19:30:05+02:00'],
  'iphone11pro-live.heic': ['image/heic', '2020-05-04T18:39:11-04:00'],
  'iphone12pro-ios16.heic': ['image/heic', '2023-10-22T09:39:48+02:00'],
  'iphone7-nooffset.heic': ['image/heic', '2018-04-12T15:21:28'],
  'iphoneX-mvhd-differs.mov': ['video/quicktime', '2019-02-12T15:27:12+08:00'],
  'live-iphone6s.jpg': ['image/jpeg', '2021-04-10T11:44:00+01:00'],
  'live-iphone6s.mov': ['video/quicktime', '2021-04-10T11:43:59+01:00'],
  'screenshot-ios-nometa.png': ['image/png', null],
  'screenshot-synth.png': ['image/png', '2024-03-14T08:09:29'],
  'utc-only.mp4': ['video/mp4', '2017-02-22T08:20:28Z'],
}

describe('a sample from a phone', needs(samples), () => {
  it.each(Object.entries(SAMPLE_DATES))('%s is read as its table says', async (name, [mediaType, date]) => {
    const { captured, ...found } = await inspectBytes(await readFile(join(SAMPLES, name)))
    expect(found.mediaType).toBe(mediaType)
    expect(found.date ?? null).toBe(date)
    // In a PNG without a date what is behind the image has to be found.
    expect(found.reads).toBeLessThanOrEqual(mediaType === 'image/png' ? 8 : 3)
    expect(found.bytes).toBeLessThanOrEqual(128 * 1024)
  })

  it('is read as by ExifTool', needs(exiftool), async () => {
    const judged = judge(SAMPLES)
    const names = (await readdir(SAMPLES)).filter((name) =>
      /\.(?:heic|jpe?g|png|mov|mp4|m4v|dng|webp|avif)$/i.test(name),
    )
    expect(names.length).toBeGreaterThan(0)
    for (const name of names) {
      const { mediaType, date } = await inspectBytes(await readFile(join(SAMPLES, name)))
      expect({ name, mediaType, date }).toEqual({ name, ...judged.get(name) })
    }
  })
})

describe('media made for tests', needs(exiftool), () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'iclood-media-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  it('are read as by ExifTool, which finds nothing wrong with them', async () => {
    const files = [...photos(), ...videos()].map(([extension, file], index) => ({
      name: `${index}.${extension}`,
      file,
    }))
    for (const { name, file } of files) await writeFile(join(folder, name), file)
    const judged = judge(folder)
    for (const { name, file } of files) {
      const { mediaType, date } = await inspectBytes(file)
      expect({ name, mediaType, date }).toEqual({ name, ...judged.get(name) })
    }
    expect(new Set([...judged.values()].map(({ mediaType }) => mediaType)).size).toBe(10)
    expect([...judged.values()].filter(({ date }) => date !== undefined).length).toBeGreaterThan(files.length / 2)
  })
})

describe('the forms in which dates are written', needs(exiftool), () => {
  it('are read as by ExifTool', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'iclood-media-'))
    try {
      const forms = FORMS.filter(({ unjudged }) => unjudged === undefined)
      const nameOf = (index: number) => `${index}.${forms[index]?.extension}`
      for (const [index, { file }] of forms.entries()) await writeFile(join(folder, nameOf(index)), file)
      const judged = judge(folder, true)
      expect(forms.map(({ name }, index) => ({ name, date: judged.get(nameOf(index))?.date }))).toEqual(
        forms.map(({ name, date }) => ({ name, date })),
      )
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

function photos(): [extension: string, file: Buffer][] {
  const makers: [string, (options: PhotoOptions) => Buffer][] = [
    ['jpg', jpeg],
    ['heic', heic],
    ['heic', (options) => heic({ ...options, exifAtEnd: true, extents: 3, tiles: 50, ilocVersion: 1 })],
    ['heic', (options) => heic({ ...options, ilocVersion: 2 })],
    ['avif', avif],
    ['png', png],
    ['png', (options) => png({ ...options, exifAtEnd: true })],
    ['webp', webp],
    ['tif', tiff],
    ['dng', dng],
  ]
  const dates = fc.date({ min: new Date('1900-01-01'), max: NOW, noInvalidDate: true })
  const sampled: PhotoOptions[] = fc
    .sample(fc.record({ date: dates, hours: fc.integer({ min: -12, max: 13 }), quarter: fc.nat(3) }), 5)
    .map(({ date, hours, quarter }, seed) => ({
      date: date.toISOString().slice(0, 19).replaceAll('-', ':').replace('T', ' '),
      offset: `${hours < 0 ? '-' : '+'}${two(Math.abs(hours))}:${hours === -12 ? '00' : two(quarter * 15)}`,
      littleEndian: seed % 2 === 0,
      size: seed * 1000,
      seed,
    }))
  const options = [{}, { noExif: true }, { date: '2024:07:01 19:30:05', size: 200_001 }, ...sampled]
  return makers.flatMap(([extension, make]) => options.map((each): [string, Buffer] => [extension, make(each)]))
}

function videos(): [extension: string, file: Buffer][] {
  const makers: [string, (options: MovieOptions) => Buffer][] = [
    ['mov', mov],
    ['mov', (options) => mov({ ...options, brands: [], moovAtEnd: true })],
    ['mp4', mp4],
    ['m4v', (options) => mp4({ ...options, brands: ['M4V ', 'isom', 'mp42'] })],
  ]
  const sampled: MovieOptions[] = fc
    .sample(fc.record({ mvhd: fc.integer({ min: 86_400, max: 3_800_000_000 }), version: fc.boolean() }), 8)
    .map(({ mvhd, version }, seed) => ({ mvhd, mvhdVersion: version ? 1 : 0, moovAtEnd: seed % 2 === 0, seed }))
  const options: MovieOptions[] = [
    {},
    { creationDate: '2024-07-01T19:30:05+0200', mvhd: new Date('2025-01-01T00:00:00Z') },
    { creationDate: '2024-07-01T19:30:05-03:30', sampleTable: 100_000, size: 300_000 },
    { creationDate: '2024-07-01T19:30:05', moovAtEnd: true },
    ...sampled,
  ]
  return makers.flatMap(([extension, make]) => options.map((each): [string, Buffer] => [extension, make(each)]))
}

/** What ExifTool says of every file in `folder`, by name. Fails where it complains of one, unless it `mayComplain`. */
function judge(
  folder: string,
  mayComplain = false,
): Map<string, { mediaType: string | undefined; date: string | undefined }> {
  const about = ['-time:all', '-MIMEType', '-ExifTool:Error', '-ExifTool:Warning', '-FileName']
  const output = execFileSync('exiftool', ['-config', '', '-json', '-G1', '-a', ...about, folder], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 2 ** 26,
  })
  const judged = new Map<string, { mediaType: string | undefined; date: string | undefined }>()
  for (const tags of JSON.parse(output) as Record<string, string>[]) {
    const name = String(tags['System:FileName'])
    if (!mayComplain) {
      expect(tags['ExifTool:Error'], name).toBeUndefined()
      expect(serious(tags['ExifTool:Warning']), name).toBeUndefined()
    }
    judged.set(name, { mediaType: tags['File:MIMEType'], date: datesOf(tags).find((date) => date !== undefined) })
  }
  return judged
}

/** What ExifTool calls the dates of a file, in the order in which they count. */
function datesOf(tags: Readonly<Record<string, string>>): (string | undefined)[] {
  const from = (...names: string[]) => names.map((name) => tags[name]).find((value) => value !== undefined)
  const ofTracks = (name: string) =>
    Object.entries(tags).flatMap(([tag, value]) =>
      /^Track\d+:/.test(tag) && tag.endsWith(`:${name}`) ? utc(value) : [],
    )
  const exif = (tag: string, offset: string) =>
    ['ExifIFD', 'IFD0'].map((group) => local(tags[`${group}:${tag}`], from(`ExifIFD:${offset}`, `IFD0:${offset}`)))
  return [
    ...exif('DateTimeOriginal', 'OffsetTimeOriginal'),
    ...exif('CreateDate', 'OffsetTimeDigitized'),
    local(tags['Keys:CreationDate']),
    local(from('UserData:ContentCreateDate', 'ItemList:ContentCreateDate')),
    local(tags['XMP-exif:DateTimeOriginal']),
    local(tags['XMP-photoshop:DateCreated']),
    local(tags['XMP-xmp:CreateDate']),
    local(tags['IPTC:DateCreated'], tags['IPTC:TimeCreated']),
    local(tags['IPTC:DigitalCreationDate'], tags['IPTC:DigitalCreationTime']),
    local(from('PNG:CreationTime', 'PNG:CreateDate')),
    utc(tags['QuickTime:CreateDate']),
    ...ofTracks('MediaCreateDate'),
    ...ofTracks('TrackCreateDate'),
    ...exif('ModifyDate', 'OffsetTime'),
    local(tags['XMP-xmp:ModifyDate']),
    utc(from('PNG:ModifyDate', 'QuickTime:ModifyDate')),
    utc(tags['Composite:GPSDateTime']),
  ]
}

/** A date with what tells its time or offset beside it, unless it lies in the future or is none. */
function local(text: string | undefined, more = ''): string | undefined {
  const found = new Found(NOW)
  found.noteDate('exif', parseDate(more.includes(':') && text?.length === 10 ? `${text} ${more}` : `${text}${more}`))
  return dateText(found.captured)
}

function utc(text: string | undefined): string | undefined {
  const found = new Found(NOW)
  found.noteDate('mvhd', asUtc(parseDate(text ?? '')))
  return dateText(found.captured)
}

/** Leaves out what ExifTool only remarks, and that a header counts from 1970, which it reads as we do. */
function serious(warning: string | undefined): string | undefined {
  return warning !== undefined && /^\[minor\]|Patched incorrect time zero/.test(warning) ? undefined : warning
}

function two(number: number): string {
  return String(number).padStart(2, '0')
}
