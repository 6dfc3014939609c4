import { type Box, boxes, metaBoxes } from './boxes.ts'
import { movieHeaderDate, parseDate } from './capture-date.ts'
import type { Found } from './found.ts'
import { readItems } from './heif.ts'
import { type Bytes, part } from './read.ts'
import { readXmp } from './xmp.ts'

const CREATION_DATE = 'com.apple.quicktime.creationdate'
const CONTENT_ID = 'com.apple.quicktime.content.identifier'
const DAY = '\xa9day'
const MAX_KEYS = 64 * 1024
const MAX_VALUE = 256
const UTF_16 = 2
const XMP_UUID = Buffer.from('be7acfcb97a942e89c71999491e3afac', 'hex')
/** Looked at behind the first that tells something: a movie made for streaming has thousands. */
const MAX_BOXES_BEHIND = 32
const MAX_TRACKS = 16
const MAX_META_BOXES = 64

/**
 * Reads what an ISO base media file says of itself: of a movie in `moov`, of pictures in `meta`, and in XMP. Of `moov`,
 * which takes megabytes in a long video, only headers and these are read. Returns whether there is a `moov`.
 */
export async function readIsoMedia(file: Bytes, found: Found): Promise<boolean> {
  let left: number | undefined
  let moov: Bytes | undefined
  for await (const { type, body } of boxes(file, 0, { topLevel: true })) {
    if (type === 'moov') {
      moov ??= body
      await readMovie(body, file, found)
    }
    if (type === 'meta') await readMeta(body, file, found)
    if (type === 'uuid') await readUuid(body, found)
    if (type === 'moov' || type === 'meta') left ??= MAX_BOXES_BEHIND
    if (left !== undefined && (found.has('day-item') || left-- === 0)) break
  }
  if (moov !== undefined && !found.has('mvhd')) await readTracks(moov, found)
  return moov !== undefined
}

async function readMovie(moov: Bytes, file: Bytes, found: Found): Promise<void> {
  for await (const { type, body } of boxes(moov)) {
    if (type === 'mvhd') await readHeader(body, 'mvhd', found)
    if (type === 'meta') await readMeta(body, file, found)
    if (type === 'udta') await readUserData(body, file, found)
    if (type === 'uuid') await readUuid(body, found)
    if (found.has('quicktime')) return
  }
}

/** What a movie's header does not tell, those of its tracks may. */
async function readTracks(moov: Bytes, found: Found): Promise<void> {
  let count = 0
  for await (const { type, body } of boxes(moov)) {
    if (type !== 'trak') continue
    for await (const inner of boxes(body)) {
      if (inner.type === 'tkhd') await readHeader(inner.body, 'tkhd', found)
      if (inner.type !== 'mdia') continue
      for await (const { type, body } of boxes(inner.body)) {
        if (type === 'mdhd') await readHeader(body, 'mdhd', found)
        break
      }
      break
    }
    count += 1
    if (found.has('mdhd') || count === MAX_TRACKS) return
  }
}

/**
 * Headers of movies, tracks and media, ISO/IEC 14496-12, 8.2.2, 8.3.2 and 8.4.2, begin alike: a version, three bytes of
 * flags, the times of creation and of the last change in 32 or (version 1) 64 bits.
 */
async function readHeader(box: Bytes, source: 'mvhd' | 'mdhd' | 'tkhd', found: Found): Promise<void> {
  const header = await box.read(0, Math.min(box.size, 20))
  if (header === undefined || header.length < 12) return
  const isShort = header[0] === 0
  if (!isShort && header.length < 20) return
  const time = (index: number) =>
    isShort ? header.readUInt32BE(4 + index * 4) : Number(header.readBigUInt64BE(4 + index * 8))
  found.noteDate(source, movieHeaderDate(time(0)))
  if (source === 'mvhd') found.noteDate('modified', movieHeaderDate(time(1)))
}

async function readUserData(udta: Bytes, file: Bytes, found: Found): Promise<void> {
  for await (const { type, body } of boxes(udta)) {
    if (type === 'meta') await readMeta(body, file, found)
    if (type === DAY) await readUserText(body, found)
    if (type === 'XMP_') await readXmp(body, found)
  }
}

/** User data of QuickTime: texts in several languages, each behind its length and the number of its language. */
async function readUserText(box: Bytes, found: Found): Promise<void> {
  const data = await box.read(0, Math.min(box.size, MAX_VALUE))
  if (data === undefined || data.length < 4) return
  const length = data.readUInt16BE(0)
  const text = 4 + length <= data.length ? data.subarray(4, 4 + length) : data
  found.noteDate('day', parseDate(text.toString('latin1')))
}

async function readUuid(uuid: Bytes, found: Found): Promise<void> {
  const id = await uuid.read(0, XMP_UUID.length)
  const packet = id?.equals(XMP_UUID) ? part(uuid, XMP_UUID.length) : undefined
  if (packet !== undefined) await readXmp(packet, found)
}

/**
 * Metadata of pictures, by items; and of movies, by name (QuickTime File Format, "Metadata"): `keys` lists names, and
 * boxes in `ilst` are called by their numbers, or where there are no keys by four letters of their own.
 */
async function readMeta(meta: Bytes, file: Bytes, found: Found): Promise<void> {
  const inner: Box[] = []
  for await (const box of metaBoxes(meta)) {
    inner.push(box)
    if (inner.length === MAX_META_BOXES) break
  }
  await readItems(file, inner, found)
  const names = new Map([[DAY, DAY]])
  for (const { type, body } of inner) {
    if (type === 'keys') await readKeys(body, names)
    if (type !== 'ilst') continue
    for await (const item of boxes(body)) {
      const name = names.get(item.type)
      if (name !== undefined) await readValues(item.body, name, found)
    }
  }
}

/**
 * Adds the wanted names with the types of the boxes that hold their values: their places in `keys`, from 1 on, as a
 * number.
 */
async function readKeys(keys: Bytes, names: Map<string, string>): Promise<void> {
  const list = await keys.read(0, Math.min(keys.size, MAX_KEYS))
  if (list === undefined) return
  for (let offset = 8, number = 1; offset + 8 <= list.length; number += 1) {
    const size = list.readUInt32BE(offset)
    if (size < 8) return
    const name = list.toString('latin1', offset + 4, Math.min(offset + size, list.length))
    if (name === `mdta${CREATION_DATE}` || name === `mdta${CONTENT_ID}`) {
      const type = Buffer.alloc(4)
      type.writeUInt32BE(number)
      names.set(type.toString('latin1'), name.slice(4))
    }
    offset += size
  }
}

async function readValues(item: Bytes, name: string, found: Found): Promise<void> {
  for await (const { type, body } of boxes(item)) {
    if (type !== 'data') continue
    // A type and a locale stand before the text.
    const data = await body.read(0, Math.min(body.size, 8 + MAX_VALUE))
    if (data === undefined || data.length < 8) continue
    const isWide = data.readUInt32BE(0) === UTF_16
    // Of texts that are all ASCII.
    const text = isWide ? data.toString('latin1', 8).replaceAll('\0', '') : data.toString('latin1', 8)
    if (name === CONTENT_ID) found.noteContentId(text)
    else found.noteDate(name === CREATION_DATE ? 'quicktime' : 'day-item', parseDate(text))
  }
}
