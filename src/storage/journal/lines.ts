import { JOURNAL_GARBAGE_BYTES, JOURNAL_LINE_BYTES } from '../../base/budgets.ts'
import { type ReadLine, splitLines } from '../../format/split-lines.ts'
import { isMediumError } from '../drive-error.ts'
import type { Entry } from '../entry.ts'
import { io, READ } from '../io.ts'

const CHUNK_BYTES = 256 * 1024
/** A drive's sector; what can't be read is given up in these. */
const SECTOR_BYTES = 4096
/** Each sector that can't be read may take the drive seconds: a file with more of them is given up. */
const MAX_BAD_SECTORS = 32

/**
 * Reads a file of the journal line by line, a bounded part of it at a time. Sectors that can't be read arrive as zeros,
 * and damage the lines they belong to; what has no line's end for more than `garbage` bytes ends there. System errors
 * pass.
 */
export async function* readLines(entry: Entry, garbage = JOURNAL_GARBAGE_BYTES): AsyncGenerator<ReadLine> {
  const file = await openTwice(entry)
  try {
    yield* splitLines(readChunks(file), { line: JOURNAL_LINE_BYTES, garbage })
  } finally {
    await io.close(file)
  }
}

/** What only the journal knows must not be given up because a drive has failed once. */
async function openTwice(entry: Entry): Promise<number> {
  try {
    return await io.open(entry, READ)
  } catch (error) {
    if (!isMediumError(error)) throw error
    return io.open(entry, READ)
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
export async function readTail(entry: Entry, length: number): Promise<Buffer> {
  const file = await openTwice(entry)
  try {
    const size = Number((await io.lstat(entry)).size)
    const chunks: Buffer[] = []
    let left = length
    for await (const chunk of readChunks(file, Math.max(0, size - length))) {
      chunks.push(chunk)
      left -= chunk.byteLength
      // It is growing.
      if (left <= 0) break
    }
    return Buffer.concat(chunks)
  } finally {
    await io.close(file)
  }
}
