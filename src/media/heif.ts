import { boxes, metaBoxes } from './boxes.ts'
import type { CaptureDate } from './capture-date.ts'
import { type ItemLocation, itemLocations } from './item-location.ts'
import { type Bytes, join, part } from './read.ts'
import { readExif } from './tiff.ts'

// A file has one Exif item per picture in it, and what phones make has one.
const MAX_EXIF_ITEMS = 16

/**
 * Reads the EXIF capture date of a HEIC, HEIF or AVIF file (ISO/IEC 23008-12, annex A), wherever the item lies: behind
 * or before the pictures, in pieces, in `idat`. Of several Exif items, those that describe the primary picture count
 * first.
 */
export async function heifDate(file: Bytes): Promise<CaptureDate | undefined> {
  for await (const { type, body } of boxes(file, 0, { topLevel: true })) {
    if (type === 'meta') return itemsDate(file, body)
  }
  return undefined
}

async function itemsDate(file: Bytes, meta: Bytes): Promise<CaptureDate | undefined> {
  const found = new Map<string, Bytes>()
  for await (const { type, body } of metaBoxes(meta)) {
    if (!found.has(type)) found.set(type, body)
  }
  const items = await exifItems(found.get('iinf'))
  if (items.length === 0) return undefined
  const primary = await primaryItem(found.get('pitm'))
  const described = await descriptions(found.get('iref'))
  const aside = (item: number) => described.get(item)?.includes(primary ?? -1) === false
  const ordered = [...items.filter((item) => !aside(item)), ...items.filter(aside)]

  const locations = await itemLocations(found.get('iloc'), items)
  for (const item of ordered) {
    const data = itemData(locations.get(item), file, found.get('idat'))
    const date = data && (await itemDate(data))
    if (date !== undefined) return date
  }
  return undefined
}

/** Item information, ISO/IEC 14496-12, 8.11.6: the numbers of the items of type `Exif`. */
async function exifItems(iinf: Bytes | undefined): Promise<number[]> {
  const items: number[] = []
  const version = (await iinf?.read(0, 1))?.[0]
  if (iinf === undefined || version === undefined) return items
  for await (const { type, body } of boxes(iinf, version === 0 ? 6 : 8)) {
    const entry = type === 'infe' ? await body.read(0, Math.min(body.size, 14)) : undefined
    // Version 2 numbers items with 16 bits and 3 with 32; the earlier ones know no types.
    if (entry?.[0] === 2 && entry.toString('latin1', 8, 12) === 'Exif') items.push(entry.readUInt16BE(4))
    if (entry?.[0] === 3 && entry.toString('latin1', 10, 14) === 'Exif') items.push(entry.readUInt32BE(4))
    if (items.length === MAX_EXIF_ITEMS) break
  }
  return items
}

/** Primary item, 8.11.4. */
async function primaryItem(pitm: Bytes | undefined): Promise<number | undefined> {
  const box = await pitm?.read(0, Math.min(pitm.size, 8))
  if (box === undefined || box.length < 6) return undefined
  if (box[0] === 0) return box.readUInt16BE(4)
  return box.length < 8 ? undefined : box.readUInt32BE(4)
}

/** Item references, 8.11.12: which items an item describes (`cdsc`), one or a few in what is made. */
async function descriptions(iref: Bytes | undefined): Promise<Map<number, number[]>> {
  const described = new Map<number, number[]>()
  const version = (await iref?.read(0, 1))?.[0]
  if (iref === undefined || version === undefined) return described
  const width = version === 0 ? 2 : 4
  for await (const { type, body } of boxes(iref, 4)) {
    if (type !== 'cdsc') continue
    const head = await body.read(0, width + 2)
    if (head === undefined) continue
    const count = head.readUInt16BE(width)
    const targets = await body.read(width + 2, count * width)
    if (targets === undefined) continue
    const numbers = Array.from({ length: count }, (_, index) => targets.readUIntBE(index * width, width))
    described.set(head.readUIntBE(0, width), numbers)
  }
  return described
}

function itemData(location: ItemLocation | undefined, file: Bytes, idat: Bytes | undefined): Bytes | undefined {
  const source = location?.within === 'idat' ? idat : file
  if (location === undefined || source === undefined) return undefined
  const parts: Bytes[] = []
  for (const { offset, length } of location.extents) {
    // No length stands for all the rest.
    const extent = length === 0 ? part(source, offset) : part(source, offset, length)
    if (extent === undefined) return undefined
    parts.push(extent)
  }
  return join(parts)
}

/** An Exif item begins with the distance from behind this number to the TIFF header; some writers leave it out. */
async function itemDate(data: Bytes): Promise<CaptureDate | undefined> {
  const head = await data.read(0, 4)
  if (head === undefined) return undefined
  const start = head.toString('latin1')
  if (start === 'II*\0' || start === 'MM\0*' || start === 'Exif') return readExif(data)
  const exif = part(data, 4 + head.readUInt32BE(0))
  return exif && readExif(exif)
}
