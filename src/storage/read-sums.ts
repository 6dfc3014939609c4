import { SUMS_BYTES, SUMS_LINE_BYTES, SUMS_LINES } from '../base/budgets.ts'
import { hasErrno } from '../errors.ts'
import { type MonthFolder, pathIn, SUMS_FILE } from '../format/layout.ts'
import { splitLines } from '../format/split-lines.ts'
import { addLine, type ParsedSums } from '../format/sums-format.ts'
import type { Drive } from './drive.ts'
import { driveError } from './drive-error.ts'
import { type Entry, type StrangeEntry, tooLarge } from './entry.ts'
import { io, READ } from './io.ts'

const CHUNK_BYTES = 256 * 1024

/**
 * Reads a folder's SHA256SUMS, a part of it at a time; `undefined` if it has none. Throws `drive_error`, also if that
 * is no file, or one that no household's folder can have.
 */
export async function readSums(drive: Drive, folder: MonthFolder): Promise<ParsedSums | undefined> {
  const path = pathIn(folder, SUMS_FILE)
  try {
    return await readAll(drive.at(path))
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw driveError(error, `${path} was being read`)
  }
}

async function readAll(entry: Entry): Promise<ParsedSums> {
  const file = await io.open(entry, READ)
  try {
    const parsed: ParsedSums = { sums: new Map(), isClean: true }
    let lines = 0
    for await (const { bytes, isEnded } of splitLines(chunksOf(file, entry), {
      line: SUMS_LINE_BYTES,
      garbage: SUMS_BYTES,
    })) {
      if (++lines > SUMS_LINES) throw tooMuch(entry)
      addLine(parsed, bytes?.toString(), isEnded)
    }
    return parsed
  } finally {
    await io.close(file)
  }
}

async function* chunksOf(file: number, entry: Entry): AsyncGenerator<Buffer> {
  for (let position = 0; ; ) {
    // New for each chunk: lines are parts of it.
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
    const { bytesRead } = await io.read(file, buffer, 0, CHUNK_BYTES, position)
    if (bytesRead === 0) return
    position += bytesRead
    if (position > SUMS_BYTES) throw tooMuch(entry)
    yield buffer.subarray(0, bytesRead)
  }
}

function tooMuch({ root, path }: Entry): StrangeEntry {
  return root.note(tooLarge(root, path, SUMS_BYTES))
}
