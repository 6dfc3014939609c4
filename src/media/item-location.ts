import type { Bytes } from './read.ts'

/** Where an item's bytes lie: in the file itself or in the `idat` box, in one or more pieces. */
export interface ItemLocation {
  readonly within: 'file' | 'idat'
  /** A length of 0 means all that follows. */
  readonly extents: readonly { readonly offset: number; readonly length: number }[]
}

const MAX_ILOC = 256 * 1024
const MAX_EXTENTS = 256

/**
 * Reads an item location box, versions 0 to 2 (ISO/IEC 14496-12, 8.11.3), for the items in `wanted`. Items that lie in
 * other files or inside other items are left out, as is everything behind the first damage.
 */
export async function itemLocations(
  iloc: Bytes | undefined,
  wanted: readonly number[],
): Promise<ReadonlyMap<number, ItemLocation>> {
  const locations = new Map<number, ItemLocation>()
  const data = iloc === undefined || iloc.size > MAX_ILOC ? undefined : await iloc.read(0, iloc.size)
  if (data === undefined || data.length < 8) return locations
  const version = data.readUInt8(0)
  const sizes = data.readUInt16BE(4)
  const indexSize = version === 0 ? 0 : sizes & 15
  const baseSize = (sizes >> 4) & 15
  const lengthSize = (sizes >> 8) & 15
  const offsetSize = sizes >> 12
  if (version > 2 || ![indexSize, baseSize, lengthSize, offsetSize].every((size) => [0, 4, 8].includes(size))) {
    return locations
  }

  const wide = version === 2 ? 4 : 2
  // Number, construction method (not in version 0), data reference, base offset, count of extents.
  const methodAt = wide
  const referenceAt = methodAt + (version === 0 ? 0 : 2)
  const baseAt = referenceAt + 2
  const countAt = baseAt + baseSize
  const entrySize = countAt + 2
  const extentSize = indexSize + offsetSize + lengthSize

  for (let entry = 6 + wide; entry + entrySize <= data.length; ) {
    const count = data.readUInt16BE(entry + countAt)
    const end = entry + entrySize + count * extentSize
    if (end > data.length) break
    const item = data.readUIntBE(entry, wide)
    const method = version === 0 ? 0 : data.readUInt16BE(entry + methodAt) & 15
    const thisFile = data.readUInt16BE(entry + referenceAt) === 0
    if (wanted.includes(item) && !locations.has(item) && thisFile && method <= 1 && count <= MAX_EXTENTS) {
      const base = uint(data, entry + baseAt, baseSize)
      const extents = Array.from({ length: count }, (_, index) => {
        const extent = entry + entrySize + index * extentSize + indexSize
        return { offset: base + uint(data, extent, offsetSize), length: uint(data, extent + offsetSize, lengthSize) }
      })
      locations.set(item, { within: method === 0 ? 'file' : 'idat', extents })
    }
    entry = end
  }
  return locations
}

function uint(data: Buffer, offset: number, size: number): number {
  if (size === 0) return 0
  return size === 4 ? data.readUInt32BE(offset) : Number(data.readBigUInt64BE(offset))
}
