import { type Box, boxes } from './boxes.ts'
import type { Found } from './found.ts'
import { type ItemLocation, itemLocations } from './item-location.ts'
import { type Bytes, join, part } from './read.ts'
import { readExif } from './tiff.ts'
import { readXmp } from './xmp.ts'

// A file has one such item per picture in it, and what phones make has one of each kind.
const MAX_ITEMS = 16
/** Enough for the name of an item and its media type. */
const MAX_ENTRY = 128

/**
 * Reads the EXIF and XMP of a HEIC, HEIF or AVIF file (ISO/IEC 23008-12, annexes A and C) from the boxes in its `meta`,
 * wherever the items lie: behind or before the pictures, in pieces, in `idat`. Of several, those that describe the
 * primary picture count first.
 */
export async function readItems(file: Bytes, meta: readonly Box[], found: Found): Promise<void> {
  const bodyOf = (type: string) => meta.find((box) => box.type === type)?.body
  const items = await describingItems(bodyOf('iinf'))
  if (items.length === 0) return
  const primary = await primaryItem(bodyOf('pitm'))
  const described = await descriptions(bodyOf('iref'))
  const aside = ({ id }: Item) => described.get(id)?.includes(primary ?? -1) === false
  const locations = await itemLocations(
    bodyOf('iloc'),
    items.map(({ id }) => id),
  )
  for (const item of [...items.filter((item) => !aside(item)), ...items.filter(aside)]) {
    if (found.has('exif')) return
    const data = itemData(locations.get(item.id), file, bodyOf('idat'))
    if (data !== undefined) await (item.isExif ? readExifItem(data, found) : readXmp(data, found))
  }
}

interface Item {
  id: number
  /** EXIF, else XMP. */
  isExif: boolean
}

/** Item information, ISO/IEC 14496-12, 8.11.6: the items of type `Exif`, and those of type `mime` that are XMP. */
async function describingItems(iinf: Bytes | undefined): Promise<Item[]> {
  const items: Item[] = []
  const version = (await iinf?.read(0, 1))?.[0]
  if (iinf === undefined || version === undefined) return items
  for await (const { type, body } of boxes(iinf, version === 0 ? 6 : 8)) {
    const entry = type === 'infe' ? await body.read(0, Math.min(body.size, MAX_ENTRY)) : undefined
    // Version 2 numbers items with 16 bits and 3 with 32; the earlier ones know no types.
    if (entry?.[0] !== 2 && entry?.[0] !== 3) continue
    const width = entry[0] === 2 ? 2 : 4
    if (entry.length < 10 + width) continue
    const itemType = entry.toString('latin1', 6 + width, 10 + width)
    const isXmp = itemType === 'mime' && entry.toString('latin1', 10 + width).includes('\0application/rdf+xml')
    if (itemType === 'Exif' || isXmp) items.push({ id: entry.readUIntBE(4, width), isExif: !isXmp })
    if (items.length === MAX_ITEMS) break
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
async function readExifItem(data: Bytes, found: Found): Promise<void> {
  const head = await data.read(0, 4)
  if (head === undefined) return
  const start = head.toString('latin1')
  if (start === 'II*\0' || start === 'MM\0*' || start === 'Exif') return readExif(data, found)
  const exif = part(data, 4 + head.readUInt32BE(0))
  if (exif !== undefined) await readExif(exif, found)
}
