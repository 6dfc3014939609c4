import { type CaptureDate, parseDate, parseOffset } from './capture-date.ts'
import { type Bytes, part } from './read.ts'

const EXIF_IFD = 0x8769
const DATE_TIME_ORIGINAL = 0x9003
const OFFSET_TIME_ORIGINAL = 0x9011
const DNG_VERSION = 0xc612

const SHORT = 3
const LONG = 4
const IFD = 13
// ASCII as the standard has it, and what else is found in its place: BYTE, UNDEFINED, UTF-8.
const TEXT_TYPES: readonly number[] = [2, 1, 7, 129]
const MAX_TEXT = 64

export interface TiffFacts {
  captured: CaptureDate | undefined
  isDng: boolean
}

/**
 * Reads the structure that TIFF and DNG files are and that EXIF is in every other format (TIFF 6.0; CIPA DC-008): the
 * first directory and the EXIF directory it points to, no others, so offsets that lead in circles lead nowhere.
 * What stands in the first directory (TIFF/EP has DateTimeOriginal there) counts where the EXIF directory lacks it.
 * Returns undefined if this is no TIFF.
 */
export async function readTiff(bytes: Bytes): Promise<TiffFacts | undefined> {
  const header = await bytes.read(0, 8)
  if (header === undefined) return undefined
  const order = header.toString('latin1', 0, 2)
  if (order !== 'II' && order !== 'MM') return undefined
  const tiff: Tiff = { bytes, little: order === 'II' }
  if (u16(tiff, header, 2) !== 42) return undefined

  const first = await readDirectory(tiff, u32(tiff, header, 4))
  const pointer = first.get(EXIF_IFD)
  const exif = pointer === undefined ? [] : await readDirectory(tiff, integer(tiff, pointer))
  const captured = await captureDate(tiff, new Map([...first, ...exif]))
  return { captured, isDng: first.has(DNG_VERSION) }
}

/** Reads EXIF as other formats embed it: a TIFF, in some files behind the `Exif\0\0` that belongs to JPEG alone. */
export async function readExif(bytes: Bytes): Promise<CaptureDate | undefined> {
  const start = (await bytes.read(0, 6))?.toString('latin1') === 'Exif\0\0' ? 6 : 0
  const tiff = part(bytes, start)
  return tiff && (await readTiff(tiff))?.captured
}

interface Tiff {
  readonly bytes: Bytes
  readonly little: boolean
}

/** The twelve bytes of each entry, by tag. */
type Directory = ReadonlyMap<number, Buffer>

async function readDirectory(tiff: Tiff, offset: number): Promise<Directory> {
  const directory = new Map<number, Buffer>()
  const head = await tiff.bytes.read(offset, 2)
  const count = head === undefined ? 0 : u16(tiff, head, 0)
  const entries = await tiff.bytes.read(offset + 2, count * 12)
  if (entries === undefined) return directory
  for (let position = 0; position < entries.length; position += 12) {
    directory.set(u16(tiff, entries, position), entries.subarray(position, position + 12))
  }
  return directory
}

async function captureDate(tiff: Tiff, directory: Directory): Promise<CaptureDate | undefined> {
  const date = parseDate((await text(tiff, directory.get(DATE_TIME_ORIGINAL))) ?? '')
  if (date === undefined) return undefined
  const offset = parseOffset((await text(tiff, directory.get(OFFSET_TIME_ORIGINAL))) ?? '')
  return { source: 'exif', wallTime: date.wallTime, offsetMinutes: offset ?? date.offsetMinutes }
}

async function text(tiff: Tiff, entry: Buffer | undefined): Promise<string | undefined> {
  if (entry === undefined || !TEXT_TYPES.includes(u16(tiff, entry, 2))) return undefined
  const length = u32(tiff, entry, 4)
  if (length <= 4) return entry.toString('latin1', 8, 8 + length)
  const value = part(tiff.bytes, u32(tiff, entry, 8), length)
  return (await value?.read(0, Math.min(length, MAX_TEXT)))?.toString('latin1')
}

/** The number in `entry`; one that no offset can equal where it holds none. */
function integer(tiff: Tiff, entry: Buffer): number {
  const type = u16(tiff, entry, 2)
  if (type === LONG || type === IFD) return u32(tiff, entry, 8)
  return type === SHORT ? u16(tiff, entry, 8) : -1
}

function u16({ little }: Tiff, buffer: Buffer, offset: number): number {
  return little ? buffer.readUInt16LE(offset) : buffer.readUInt16BE(offset)
}

function u32({ little }: Tiff, buffer: Buffer, offset: number): number {
  return little ? buffer.readUInt32LE(offset) : buffer.readUInt32BE(offset)
}
