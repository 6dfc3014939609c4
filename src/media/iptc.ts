import { parseDate, type WallDate } from './capture-date.ts'
import type { Found } from './found.ts'
import { type Bytes, part } from './read.ts'
import { readXmp } from './xmp.ts'

const MAX_RESOURCES = 256
const MAX_IPTC = 64 * 1024
const MARK = 0x1c
const APPLICATION_RECORD = 2
/** Data sets of the application record: a date and a time each. */
const CREATED = [55, 60] as const
const DIGITIZED = [62, 63] as const

const IPTC_RESOURCE = 0x0404
const XMP_RESOURCE = 0x0424

/** Reads Photoshop's image resources, `8BIM` blocks, which JPEGs have in APP13 and TIFFs in a tag: among them IPTC. */
export async function readImageResources(bytes: Bytes, found: Found): Promise<void> {
  let offset = 0
  for (let count = 0; count < MAX_RESOURCES && !found.has('xmp-original'); count += 1) {
    const head = await bytes.read(offset, 7)
    if (head === undefined || !/^(?:8BIM|PHUT|DCSR|AgHg|MeSa)/.test(head.toString('latin1', 0, 4))) return
    // The name, with the byte before it that counts it, takes an even number of bytes, and so does what follows.
    const sizeAt = offset + 6 + (head.readUInt8(6) & ~1) + 2
    const size = (await bytes.read(sizeAt, 4))?.readUInt32BE(0)
    const resource = size === undefined ? undefined : part(bytes, sizeAt + 4, size)
    if (resource === undefined) return
    const id = head.readUInt16BE(4)
    if (id === IPTC_RESOURCE) await readIptc(resource, found)
    if (id === XMP_RESOURCE) await readXmp(resource, found)
    offset = sizeAt + 4 + resource.size + (resource.size % 2)
  }
}

/** Reads the dates of IPTC's Information Interchange Model, version 4: 2:55 and 2:60, then 2:62 and 2:63. */
export async function readIptc(bytes: Bytes, found: Found): Promise<void> {
  if (found.has('iptc')) return
  const data = await bytes.read(0, Math.min(bytes.size, MAX_IPTC))
  if (data === undefined) return
  const texts = dataSets(data[0] !== MARK && data[3] === MARK ? swapped(data) : data)
  found.noteDate('iptc', dateOf(texts, CREATED))
  found.noteDate('iptc-digitized', dateOf(texts, DIGITIZED))
}

function dateOf(texts: ReadonlyMap<number, string>, [day, time]: readonly [number, number]): WallDate | undefined {
  const date = /^(\d{4}).?(\d{2}).?(\d{2})/.exec(texts.get(day) ?? '')
  if (date === null) return undefined
  const clock = /^(\d{2}):?(\d{2}):?(\d{2})(.*)$/s.exec(texts.get(time) ?? '')
  return parseDate(`${date.slice(1).join(':')} ${clock === null ? '' : clock.slice(1, 4).join(':') + clock[4]}`)
}

/** The texts of the application record, by number; of several the first. */
function dataSets(data: Buffer): Map<number, string> {
  const texts = new Map<number, string>()
  for (let offset = 0; offset + 5 <= data.length && data[offset] === MARK; ) {
    const number = data.readUInt8(offset + 2)
    const length = data.readUInt16BE(offset + 3)
    // A longer one has its length behind this number, and is no date.
    const extended = length >= 0x8000 ? length & 0x7fff : 0
    if (extended > 4 || offset + 5 + extended > data.length) break
    const size = extended === 0 ? (length >= 0x8000 ? 0 : length) : data.readUIntBE(offset + 5, extended)
    const start = offset + 5 + extended
    const text = data.toString('latin1', start, Math.min(start + size, start + 32))
    if (data[offset + 1] === APPLICATION_RECORD && !texts.has(number)) texts.set(number, text)
    offset = start + size
  }
  return texts
}

/** In a TIFF that calls it a list of numbers of 32 bits it is written in the order of the file's numbers. */
function swapped(data: Buffer): Buffer {
  return Buffer.from(data.subarray(0, data.length - (data.length % 4))).swap32()
}
