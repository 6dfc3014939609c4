import { type Bytes, part } from './read.ts'

/** A box (atom) of an ISO base media or QuickTime file: its four-character type and what it holds. */
export interface Box {
  readonly type: string
  readonly body: Bytes
}

const MAX_BOXES = 4096

/**
 * Yields the boxes in `bytes`, one after the other from `start` on, by their headers alone (ISO/IEC 14496-12, 4.2).
 * Ends at the first that is damaged or sticks out, as ExifTool does. A size of 0 means "to the end of the file" and
 * holds only for the file's own boxes (`topLevel`); inside others it is QuickTime's terminator.
 */
export async function* boxes(bytes: Bytes, start = 0, { topLevel = false } = {}): AsyncGenerator<Box> {
  let offset = start
  for (let count = 0; count < MAX_BOXES; count += 1) {
    const header = await bytes.read(offset, 8)
    if (header === undefined) return
    const type = header.toString('latin1', 4, 8)
    let size = header.readUInt32BE(0)
    let headerSize = 8
    if (size === 1) {
      const long = await bytes.read(offset + 8, 8)
      if (long === undefined) return
      size = Number(long.readBigUInt64BE(0))
      headerSize = 16
    } else if (size === 0 && topLevel) {
      size = bytes.size - offset
    }
    const body = part(bytes, offset + headerSize, size - headerSize)
    if (body === undefined) return
    yield { type, body }
    offset += size
  }
}

/**
 * Yields the boxes in a `meta` box. In ISO files a version and flags, all zero, stand before them; in QuickTime's none
 * does, and a box's size is not zero.
 */
export async function* metaBoxes(meta: Bytes): AsyncGenerator<Box> {
  const first = await meta.read(0, 4)
  if (first !== undefined) yield* boxes(meta, first.readUInt32BE(0) === 0 ? 4 : 0)
}
