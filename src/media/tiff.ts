import { asUtc, type DateSource, parseDate, parseOffset } from './capture-date.ts'
import type { Found } from './found.ts'
import { readImageResources, readIptc } from './iptc.ts'
import { type Bytes, part } from './read.ts'
import { readXmp } from './xmp.ts'

const XMP = 0x02bc
const IPTC = 0x83bb
const IMAGE_RESOURCES = 0x8649
const EXIF_DIRECTORY = 0x8769
const GPS_DIRECTORY = 0x8825
const GPS_TIME = 0x0007
const GPS_DATE = 0x001d
const MAKER_NOTE = 0x927c
const CONTENT_ID = 0x0011
const DNG_VERSION = 0xc612

/** A date and its distance from UTC. */
type DateTags = readonly [source: DateSource, date: number, offset: number]

const CAPTURE_DATES: readonly DateTags[] = [
  ['exif', 0x9003, 0x9011],
  ['exif-digitized', 0x9004, 0x9012],
]
const MODIFY_DATE: DateTags = ['modified', 0x0132, 0x9010]

const SHORT = 3
const LONG = 4
const RATIONAL = 5
const IFD = 13
// ASCII as the standard has it, and what else is found in its place: BYTE, UNDEFINED, UTF-8.
const TEXT_TYPES: readonly number[] = [2, 1, 7, 129]
const MAX_TEXT = 64

/**
 * Reads the structure that TIFF and DNG files are and that EXIF is in every other format (TIFF 6.0; CIPA DC-008): the
 * first directory and the EXIF and GPS directories it points to, no others, so offsets that lead in circles lead
 * nowhere. What stands in the first directory (TIFF/EP has DateTimeOriginal there) counts where the EXIF directory has
 * nothing good. Returns undefined if this is no TIFF.
 */
export async function readTiff(bytes: Bytes, found: Found): Promise<{ isDng: boolean } | undefined> {
  const header = await bytes.read(0, 8)
  if (header === undefined) return undefined
  const order = header.toString('latin1', 0, 2)
  if (order !== 'II' && order !== 'MM') return undefined
  const tiff: Tiff = { bytes, little: order === 'II' }
  if (u16(tiff, header, 2) !== 42) return undefined

  const first = await readDirectory(tiff, u32(tiff, header, 4))
  const exif = await readPointedTo(tiff, first, EXIF_DIRECTORY)
  const both = [...exif, ...first]
  for (const date of CAPTURE_DATES) await noteDates(tiff, both, date, found)
  for (const entry of exif) if (entry.tag === MAKER_NOTE) await readAppleNote(tiff, entry, found)
  await readEmbedded(tiff, first, found)
  await noteDates(tiff, both, MODIFY_DATE, found)
  if (!found.has('gps')) await noteGps(tiff, await readPointedTo(tiff, first, GPS_DIRECTORY), found)
  return { isDng: first.some(({ tag }) => tag === DNG_VERSION) }
}

/** Reads EXIF as other formats embed it: a TIFF, in some files behind the `Exif\0\0` that belongs to JPEG alone. */
export async function readExif(bytes: Bytes, found: Found): Promise<void> {
  const start = (await bytes.read(0, 6))?.toString('latin1') === 'Exif\0\0' ? 6 : 0
  const tiff = part(bytes, start)
  if (tiff !== undefined) await readTiff(tiff, found)
}

interface Tiff {
  readonly bytes: Bytes
  readonly little: boolean
}

interface Entry {
  readonly tag: number
  readonly type: number
  readonly count: number
  /** The four bytes that are the value, or say where it is. */
  readonly value: Buffer
}

/** Its entries. One tag may stand there more than once. */
type Directory = readonly Entry[]

async function readDirectory(tiff: Tiff, offset: number): Promise<Directory> {
  const head = await tiff.bytes.read(offset, 2)
  const count = head === undefined ? 0 : u16(tiff, head, 0)
  const bytes = await tiff.bytes.read(offset + 2, count * 12)
  if (bytes === undefined) return []
  return Array.from({ length: count }, (_, index) => {
    const entry = bytes.subarray(index * 12, (index + 1) * 12)
    return { tag: u16(tiff, entry, 0), type: u16(tiff, entry, 2), count: u32(tiff, entry, 4), value: entry.subarray(8) }
  })
}

async function readPointedTo(tiff: Tiff, directory: Directory, tag: number): Promise<Directory> {
  const pointer = directory.find((entry) => entry.tag === tag)
  return pointer === undefined ? [] : readDirectory(tiff, integer(tiff, pointer))
}

async function noteDates(
  tiff: Tiff,
  directory: Directory,
  [source, dateTag, offsetTag]: DateTags,
  found: Found,
): Promise<void> {
  for (const entry of directory) {
    const date = entry.tag === dateTag && !found.has(source) ? parseDate(await text(tiff, entry)) : undefined
    if (date === undefined) continue
    const offset = directory.find(({ tag }) => tag === offsetTag)
    const offsetMinutes = offset && parseOffset(await text(tiff, offset))
    found.noteDate(source, { ...date, offsetMinutes: offsetMinutes ?? date.offsetMinutes })
  }
}

/** Satellites tell the time in UTC; a day alone is taken as that of the place. */
async function noteGps(tiff: Tiff, gps: Directory, found: Found): Promise<void> {
  const day = gps.find(({ tag }) => tag === GPS_DATE)
  const date = day && parseDate(await text(tiff, day))
  if (date === undefined) return
  const time = gps.find(({ tag, type, count }) => tag === GPS_TIME && type === RATIONAL && count === 3)
  const numbers = time && (await tiff.bytes.read(u32(tiff, time.value, 0), 24))
  const [hour, minute, second] = [0, 8, 16].map((at) =>
    numbers === undefined ? Number.NaN : u32(tiff, numbers, at) / u32(tiff, numbers, at + 4),
  )
  const ms = Math.floor(((hour ?? 0) * 60 + (minute ?? 0)) * 60 + (second ?? 0)) * 1000
  found.noteDate('gps', ms >= 0 && ms < 86_400_000 ? asUtc({ ...date, wallTime: date.wallTime + ms }) : date)
}

/** What other standards say, inside the tags of this one. */
async function readEmbedded(tiff: Tiff, first: Directory, found: Found): Promise<void> {
  for (const entry of first) {
    if (![XMP, IPTC, IMAGE_RESOURCES].includes(entry.tag)) continue
    const value = bytesOf(tiff, entry)
    if (value === undefined) continue
    if (entry.tag === XMP) await readXmp(value, found)
    else if (entry.tag === IPTC) await readIptc(value, found)
    else await readImageResources(value, found)
  }
}

/** Apple's note has a directory of its own behind fourteen bytes, whose offsets count from the note's start. */
async function readAppleNote(tiff: Tiff, entry: Entry, found: Found): Promise<void> {
  const note = bytesOf(tiff, entry)
  const head = await note?.read(0, 14)
  if (note === undefined || head === undefined || !head.toString('latin1').startsWith('Apple iOS\0')) return
  const apple: Tiff = { bytes: note, little: head.toString('latin1', 12) === 'II' }
  for (const entry of await readDirectory(apple, 14)) {
    if (entry.tag === CONTENT_ID) found.noteContentId(await text(apple, entry))
  }
}

/** The bytes of an entry; undefined if they are not all there. */
function bytesOf(tiff: Tiff, { type, count, value }: Entry): Bytes | undefined {
  const size = count * (type === LONG || type === IFD ? 4 : type === SHORT ? 2 : 1)
  return size <= 4 ? undefined : part(tiff.bytes, u32(tiff, value, 0), size)
}

/** The text of an entry; empty if it holds none. */
async function text(tiff: Tiff, { type, count, value }: Entry): Promise<string> {
  if (!TEXT_TYPES.includes(type)) return ''
  if (count <= 4) return value.toString('latin1', 0, count)
  const bytes = part(tiff.bytes, u32(tiff, value, 0), count)
  return (await bytes?.read(0, Math.min(count, MAX_TEXT)))?.toString('latin1') ?? ''
}

/** The number in an entry; one that no offset can equal where it holds none. */
function integer(tiff: Tiff, { type, value }: Entry): number {
  if (type === LONG || type === IFD) return u32(tiff, value, 0)
  return type === SHORT ? u16(tiff, value, 0) : -1
}

function u16({ little }: Tiff, buffer: Buffer, offset: number): number {
  return little ? buffer.readUInt16LE(offset) : buffer.readUInt16BE(offset)
}

function u32({ little }: Tiff, buffer: Buffer, offset: number): number {
  return little ? buffer.readUInt32LE(offset) : buffer.readUInt32BE(offset)
}
