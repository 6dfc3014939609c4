/** Reads up to `length` bytes at `position`; fewer (or none) at the end of the file. */
export type ReadAt = (position: number, length: number) => Promise<Uint8Array>

/** A run of bytes to be read in pieces: a whole file, a part of one, or parts joined. */
export interface Bytes {
  readonly size: number
  /** Returns exactly `length` bytes at `offset`; undefined where they do not all exist or may no longer be read. */
  read(offset: number, length: number): Promise<Buffer | undefined>
}

// An iPhone's JPEG and HEIC keep what is wanted here in their first kilobytes: one read serves the whole inspection.
const HEAD = 64 * 1024
const READ_AHEAD = 4 * 1024
// What no honest file needs and no dishonest one gets.
const MAX_PIECE = 256 * 1024
const MAX_READS = 200
const MAX_BYTES = 1024 * 1024

/**
 * Makes a file readable in pieces. The head of the file and the piece read last are kept, so that neighbouring pieces
 * cost one read. All pieces together cost at most 200 calls of `readAt` and 1 MiB, no piece more than 256 KiB; what
 * goes beyond is answered as if it were not there. Errors of `readAt` pass through.
 */
export function fileBytes(readAt: ReadAt, size: number): Bytes {
  let head: Window | undefined
  let latest: Window | undefined
  let reads = 0
  let bytes = 0

  async function load(position: number, length: number): Promise<Window | undefined> {
    if (reads >= MAX_READS || bytes + length > MAX_BYTES) return undefined
    reads += 1
    bytes += length
    const data = await readAt(position, length)
    return { position, data: Buffer.from(data.buffer, data.byteOffset, data.byteLength) }
  }

  return {
    size,
    async read(offset, length) {
      if (!fits(offset, length, size) || length > MAX_PIECE) return undefined
      head ??= await load(0, Math.min(HEAD, size))
      const kept = cut(head, offset, length) ?? cut(latest, offset, length)
      if (kept !== undefined) return kept
      latest = await load(offset, Math.min(Math.max(length, READ_AHEAD), size - offset))
      return cut(latest, offset, length)
    },
  }
}

/**
 * Returns the part of `bytes` with `length` bytes from `offset` on (all the rest by default); undefined if it sticks
 * out.
 */
export function part(bytes: Bytes, offset: number, length: number = bytes.size - offset): Bytes | undefined {
  if (!fits(offset, length, bytes.size)) return undefined
  return {
    size: length,
    async read(inner, count) {
      return fits(inner, count, length) ? bytes.read(offset + inner, count) : undefined
    },
  }
}

/** Returns `parts` one after the other as if they were one. */
export function join(parts: readonly Bytes[]): Bytes {
  const size = parts.reduce((sum, { size }) => sum + size, 0)
  return {
    size,
    async read(offset, length) {
      if (!fits(offset, length, size) || length > MAX_PIECE) return undefined
      const pieces: Buffer[] = []
      let start = offset
      let missing = length
      for (const each of parts) {
        if (missing === 0) break
        if (start >= each.size) {
          start -= each.size
          continue
        }
        const count = Math.min(missing, each.size - start)
        const piece = await each.read(start, count)
        if (piece === undefined) return undefined
        pieces.push(piece)
        missing -= count
        start = 0
      }
      return Buffer.concat(pieces)
    },
  }
}

/** Returns bytes that are in memory already, in the same shape. */
export function inMemory(data: Buffer): Bytes {
  return {
    size: data.length,
    async read(offset, length) {
      return fits(offset, length, data.length) ? data.subarray(offset, offset + length) : undefined
    },
  }
}

interface Window {
  readonly position: number
  readonly data: Buffer
}

function cut(window: Window | undefined, offset: number, length: number): Buffer | undefined {
  if (window === undefined) return undefined
  const start = offset - window.position
  if (start < 0 || start + length > window.data.length) return undefined
  return window.data.subarray(start, start + length)
}

// Offsets come from the file, 64 bits of anything: the comparison must also hold where numbers have lost their units.
function fits(offset: number, length: number, size: number): boolean {
  return offset >= 0 && length >= 0 && offset <= size && length <= size - offset
}
