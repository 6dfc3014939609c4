import { isMediumError } from '../drive-error.ts'
import { io } from '../io.ts'

const CHUNK_BYTES = 256 * 1024
/** A phone's paths and names come to some 200 KB at the very most; what is longer has lost its line feeds. */
const MAX_LINE_BYTES = 16 * 1024 * 1024

/** A drive's sector; what can't be read is given up in these. */
const SECTOR_BYTES = 4096
/** Each sector that can't be read may take the drive seconds: a file with more of them is given up. */
const MAX_BAD_SECTORS = 32

const LINE_FEED = 0x0a

export interface ReadLine {
  /** Without its line feed; `undefined` if it is longer than any line can be. */
  bytes: Buffer | undefined
  /** Whether its line feed is there: only the last line of a file may lack it. */
  isEnded: boolean
}

/**
 * Reads a file line by line, a bounded part of it at a time. Sectors that can't be read arrive as zeros, and damage the
 * lines they belong to. System errors pass.
 */
export async function* readLines(path: string): AsyncGenerator<ReadLine> {
  const file = await openTwice(path)
  try {
    let pieces: Buffer[] = []
    let length = 0
    const take = (isEnded: boolean): ReadLine => {
      const bytes = length > MAX_LINE_BYTES ? undefined : Buffer.concat(pieces)
      pieces = []
      length = 0
      return { bytes, isEnded }
    }
    const keep = (piece: Buffer) => {
      length += piece.byteLength
      if (length <= MAX_LINE_BYTES) pieces.push(piece)
      else pieces = []
    }
    for await (const chunk of readChunks(file)) {
      let start = 0
      for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
        keep(chunk.subarray(start, end))
        yield take(true)
        start = end + 1
      }
      if (start < chunk.byteLength) keep(chunk.subarray(start))
    }
    if (length > 0) yield take(false)
  } finally {
    await io.close(file)
  }
}

/** What only the journal knows must not be given up because a drive has failed once. */
async function openTwice(path: string): Promise<number> {
  try {
    return await io.open(path, 'r')
  } catch (error) {
    if (!isMediumError(error)) throw error
    return io.open(path, 'r')
  }
}

async function* readChunks(file: number, start = 0): AsyncGenerator<Buffer> {
  let length = CHUNK_BYTES
  let badSectors = 0
  for (let position = start; ; ) {
    // New for each chunk: lines are parts of it.
    const buffer = Buffer.alloc(length)
    let bytesRead = SECTOR_BYTES
    try {
      bytesRead = (await io.read(file, buffer, 0, length, position)).bytesRead
    } catch (error) {
      if (!isMediumError(error) || badSectors === MAX_BAD_SECTORS) throw error
      if (length > SECTOR_BYTES) {
        length = SECTOR_BYTES
        continue
      }
      badSectors++
    }
    if (bytesRead === 0) return
    position += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}

/** The last `length` bytes of a file, or all of a shorter one. System errors pass. */
export async function readTail(path: string, length: number): Promise<Buffer> {
  const file = await openTwice(path)
  try {
    const size = Number((await io.stat(path)).size)
    const chunks: Buffer[] = []
    for await (const chunk of readChunks(file, Math.max(0, size - length))) chunks.push(chunk)
    return Buffer.concat(chunks)
  } finally {
    await io.close(file)
  }
}
