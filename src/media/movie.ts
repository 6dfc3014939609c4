import { boxes, metaBoxes } from './boxes.ts'
import { type CaptureDate, movieHeaderDate, parseDate } from './capture-date.ts'
import type { Bytes } from './read.ts'

const CREATION_DATE = 'com.apple.quicktime.creationdate'
const MAX_KEYS = 64 * 1024
const MAX_VALUE = 64

/**
 * Reads the capture date of a QuickTime or MP4 file: Apple's creation date, which knows the place's clock, else that of
 * the movie header. Of `moov`, which takes megabytes in a long video, only headers and these are read. Returns
 * undefined if there is no `moov`, and so no movie.
 */
export async function readMovie(file: Bytes): Promise<{ captured: CaptureDate | undefined } | undefined> {
  for await (const { type, body } of boxes(file, 0, { topLevel: true })) {
    if (type === 'moov') return { captured: await movieDate(body) }
  }
  return undefined
}

async function movieDate(moov: Bytes): Promise<CaptureDate | undefined> {
  let header: CaptureDate | undefined
  for await (const { type, body } of boxes(moov)) {
    if (type === 'mvhd') header ??= await headerDate(body)
    const date = type === 'meta' ? await keysDate(body) : type === 'udta' ? await userDataDate(body) : undefined
    if (date !== undefined) return date
  }
  return header
}

async function userDataDate(udta: Bytes): Promise<CaptureDate | undefined> {
  for await (const { type, body } of boxes(udta)) {
    const date = type === 'meta' ? await keysDate(body) : undefined
    if (date !== undefined) return date
  }
  return undefined
}

/** Movie header, ISO/IEC 14496-12, 8.2.2: a version, three bytes of flags, the creation time in 32 or (version 1) 64 bits. */
async function headerDate(mvhd: Bytes): Promise<CaptureDate | undefined> {
  const header = await mvhd.read(0, 12)
  if (header === undefined) return undefined
  return movieHeaderDate(header[0] === 0 ? header.readUInt32BE(4) : Number(header.readBigUInt64BE(4)))
}

/** Metadata by name (QuickTime File Format, "Metadata"): `keys` lists names, and boxes in `ilst` are called by their numbers. */
async function keysDate(meta: Bytes): Promise<CaptureDate | undefined> {
  let wanted: string | undefined
  for await (const { type, body } of metaBoxes(meta)) {
    if (type === 'keys') wanted = await itemOf(CREATION_DATE, body)
    if (type !== 'ilst' || wanted === undefined) continue
    for await (const item of boxes(body)) {
      const date = item.type === wanted ? await itemDate(item.body) : undefined
      if (date !== undefined) return date
    }
  }
  return undefined
}

/** Returns the type of the `ilst` box that holds the value of `name`: its place in `keys`, from 1 on, as a number. */
async function itemOf(name: string, keys: Bytes): Promise<string | undefined> {
  const list = await keys.read(0, Math.min(keys.size, MAX_KEYS))
  if (list === undefined) return undefined
  for (let offset = 8, number = 1; offset + 8 <= list.length; number += 1) {
    const size = list.readUInt32BE(offset)
    if (size < 8) return undefined
    if (list.toString('latin1', offset + 4, Math.min(offset + size, list.length)) === `mdta${name}`) {
      const type = Buffer.alloc(4)
      type.writeUInt32BE(number)
      return type.toString('latin1')
    }
    offset += size
  }
  return undefined
}

async function itemDate(item: Bytes): Promise<CaptureDate | undefined> {
  for await (const { type, body } of boxes(item)) {
    if (type !== 'data') continue
    // Eight bytes of type and locale stand before the text.
    const data = await body.read(0, Math.min(body.size, 8 + MAX_VALUE))
    const date = data && parseDate(data.toString('latin1', 8))
    if (date !== undefined) return { source: 'quicktime', ...date }
  }
  return undefined
}
