import { crc32, inflate } from 'node:zlib'
import { type DateSource, parseDate, parseOffset, type WallDate } from './capture-date.ts'
import type { Found } from './found.ts'
import { readImageResources, readIptc } from './iptc.ts'
import { type Bytes, inMemory, part } from './read.ts'
import { readExif } from './tiff.ts'
import { readXmp } from './xmp.ts'

const MAX_CHUNKS = 1024
/** How often it is looked into the image for where it ends; each costs a read. */
const MAX_LOOKS = 120
const MAX_TAIL = 256 * 1024
// Each costs a checksum of up to the whole tail.
const MAX_CANDIDATES = 8
const MAX_TEXT = 256 * 1024
const MAX_INFLATED = 1024 * 1024
const MAX_PROFILES = 8

/**
 * Reads the dates of a PNG (PNG specification, 3rd edition, 11.3): EXIF, XMP, IPTC, the text "Creation Time", and
 * profiles in the hexadecimal text of ImageMagick. They may also stand behind the image, however long it is: the
 * thousands of chunks that software cuts images into have one size, so their end is found in a few leaps. What can't be
 * walked through is searched from the end of the file.
 */
export async function readPng(file: Bytes, found: Found): Promise<void> {
  const profiles = { left: MAX_PROFILES }
  const looks = { left: MAX_LOOKS }
  let offset = 8
  for (let count = 0; count < MAX_CHUNKS && !found.has('exif'); count += 1) {
    const header = await file.read(offset, 8)
    if (header === undefined) break
    const length = header.readUInt32BE(0)
    const type = header.toString('latin1', 4, 8)
    if (type === 'IEND') return
    if (type === 'IDAT') {
      if (looks.left <= 0) break
      offset = await endOfRun(file, offset, header, looks)
      continue
    }
    const body = part(file, offset + 8, length)
    if (body !== undefined) await readChunk(type, body, found, profiles)
    offset += 12 + length
  }
  if (!found.has('exif')) await readTail(file, Math.max(0, file.size - MAX_TAIL), found, profiles)
}

/** The end of a run of chunks with the same header, each as long as the one before. */
async function endOfRun(file: Bytes, start: number, header: Buffer, looks: { left: number }): Promise<number> {
  const step = 12 + header.readUInt32BE(0)
  const isIn = async (index: number) => {
    looks.left -= 1
    return (await file.read(start + index * step, 8))?.equals(header) === true
  }
  let leap = 1
  while (await isIn(leap)) leap *= 2
  // From here on `last` is in the run, and what is `leap` behind it is not.
  let last = Math.floor(leap / 2)
  for (leap = last; leap > 0; leap = Math.floor(leap / 2)) {
    if (await isIn(last + leap)) last += leap
  }
  return start + (last + 1) * step
}

async function readTail(file: Bytes, start: number, found: Found, profiles: { left: number }): Promise<void> {
  const tail = start < file.size ? await file.read(start, file.size - start) : undefined
  if (tail === undefined) return
  // These letters turn up in compressed pixels too, though hardly ever; with a matching checksum they do not.
  let type = 0
  for (let count = 0; count < MAX_CANDIDATES && !found.has('exif'); count += 1) {
    const next = ['eXIf', 'iTXt', 'zTXt', 'tEXt']
      .map((name) => tail.indexOf(name, type + 4, 'latin1'))
      .filter((at) => at !== -1)
    if (next.length === 0) return
    type = Math.min(...next)
    const end = type + 4 + tail.readUInt32BE(type - 4)
    if (end + 4 > tail.length || crc32(tail.subarray(type, end)) !== tail.readUInt32BE(end)) continue
    await readChunk(tail.toString('latin1', type, type + 4), inMemory(tail.subarray(type + 4, end)), found, profiles)
  }
}

async function readChunk(type: string, body: Bytes, found: Found, profiles: { left: number }): Promise<void> {
  if (type === 'eXIf') return readExif(body, found)
  if (type === 'tIME') return noteTime(await body.read(0, 7), found)
  if (type !== 'tEXt' && type !== 'zTXt' && type !== 'iTXt') return undefined
  const data = await body.read(0, Math.min(body.size, MAX_TEXT))
  const keywordEnd = data?.indexOf(0) ?? -1
  if (data === undefined || keywordEnd === -1) return undefined
  const keyword = data.toString('latin1', 0, keywordEnd)
  const source = Object.hasOwn(TEXTS, keyword.toLowerCase()) ? TEXTS[keyword.toLowerCase()] : undefined
  const isProfile = keyword === XMP_KEYWORD || keyword.startsWith(RAW_PROFILE)
  if ((source === undefined && !isProfile) || profiles.left === 0) return undefined
  profiles.left -= 1
  const text = await textOf(type, data.subarray(keywordEnd + 1))
  if (text === undefined) return undefined
  if (source !== undefined) found.noteDate(source, parseText(text.toString('latin1', 0, 64)))
  else if (keyword === XMP_KEYWORD) await readXmp(inMemory(text), found)
  else await readProfile(text, found)
}

/** The last change of the image, in UTC. */
function noteTime(time: Buffer | undefined, found: Found): void {
  if (time === undefined) return
  const [month, day, hour, minute, second] = time.subarray(2)
  const date = parseDate(`${String(time.readUInt16BE(0)).padStart(4, '0')}:${month}:${day} ${hour}:${minute}:${second}`)
  if (date !== undefined) found.noteDate('modified', { utc: date.wallTime })
}

const XMP_KEYWORD = 'XML:com.adobe.xmp'
const RAW_PROFILE = 'Raw profile type '
const TEXTS: Readonly<Record<string, DateSource>> = {
  'creation time': 'text',
  'create-date': 'text',
  'exif:datetimeoriginal': 'text',
  'exif:datetimedigitized': 'text',
}

/** What stands behind the keyword, decompressed where it is compressed; undefined where it can't be. */
async function textOf(type: string, data: Buffer): Promise<Buffer | undefined> {
  if (type === 'tEXt') return data
  if (type === 'zTXt') return data[0] === 0 ? inflated(data.subarray(1)) : undefined
  // Whether it is compressed, and how; a language and the keyword in it.
  const languageEnd = data.indexOf(0, 2)
  const start = languageEnd === -1 ? -1 : data.indexOf(0, languageEnd + 1)
  if (start === -1) return undefined
  return data[0] === 0 ? data.subarray(start + 1) : inflated(data.subarray(start + 1))
}

function inflated(data: Buffer): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    inflate(data, { maxOutputLength: MAX_INFLATED }, (error, text) => resolve(error === null ? text : undefined))
  })
}

/** A name, a length and hexadecimal digits, each in lines of their own: EXIF, XMP or IPTC, whatever the name says. */
async function readProfile(text: Buffer, found: Found): Promise<void> {
  const head = /^\s*[^\n]*\n\s*\d+\s*\n/.exec(text.toString('latin1', 0, 256))
  if (head === null) return
  const bytes = Buffer.from(text.toString('latin1', head[0].length).replaceAll(/\s+/g, ''), 'hex')
  const start = bytes.toString('latin1', 0, 64)
  const body = (from: number) => inMemory(bytes.subarray(from))
  if (start.startsWith('http://ns.adobe.com/xap/1.0/\0')) await readXmp(body(29), found)
  else if (/^(?:Exif\0\0|MM\0\*|II\*\0)/.test(start)) await readExif(body(0), found)
  else if (start.startsWith('8BIM')) await readImageResources(body(0), found)
  else if (start.startsWith('\x1c')) await readIptc(body(0), found)
  else if (start.includes('<')) await readXmp(body(0), found)
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
/** RFC 1123, 5.2.14 (`Mon, 1 Jul 2024 19:30:05 +0200`), and what C's asctime writes. */
const MAIL_DATE = /(\d{1,2})\s+([a-z]{3})[a-z]*\s+(\d{4})\s+(\d{1,2}:\d{2}(?::\d{2})?)\s*(\S*)/i
const C_DATE = /^\s*[a-z]{3}\s+([a-z]{3})\s+(\d{1,2})\s+(\d{1,2}:\d{2}:\d{2})\s+(\d{4})/i
const ZONES: Readonly<Record<string, number>> = {
  UT: 0,
  UTC: 0,
  GMT: 0,
  EST: -5,
  EDT: -4,
  CST: -6,
  CDT: -5,
  MST: -7,
  MDT: -6,
  PST: -8,
  PDT: -7,
}

/** Reads a date that a person or a program has written into a text. */
export function parseText(text: string): WallDate | undefined {
  const mail = MAIL_DATE.exec(text)
  const c = mail === null ? C_DATE.exec(text) : null
  const [day, monthName, year, time] = mail?.slice(1) ?? [c?.[2], c?.[1], c?.[4], c?.[3]]
  if (day === undefined || monthName === undefined || year === undefined) return parseDate(text)
  const month = MONTHS.indexOf(monthName.toLowerCase()) + 1
  const date = parseDate(`${year}:${month}:${day} ${time}`)
  const zone = mail?.[5]?.toUpperCase() ?? ''
  const hours = Object.hasOwn(ZONES, zone) ? ZONES[zone] : undefined
  return date && { ...date, offsetMinutes: hours === undefined ? parseOffset(zone) : hours * 60 }
}
