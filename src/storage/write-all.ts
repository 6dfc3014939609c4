import { AppError } from '../errors.ts'
import { io } from './io.ts'

/**
 * Writes all of `chunks` at `position`. A single write may take fewer bytes than it was given, when the drive fills up
 * or a signal comes in between; the rest is written again, and the error that stopped it is thrown.
 */
export async function writeAll(file: number, chunks: readonly Buffer[], position: number): Promise<void> {
  let rest = chunks
  let at = position
  while (rest.length > 0) {
    const { bytesWritten } = await io.writev(file, rest, at)
    if (bytesWritten === 0) throw new AppError('drive_error', 'The drive took no bytes of an upload. Check its health.')
    at += bytesWritten
    rest = dropBytes(rest, bytesWritten)
  }
}

function dropBytes(chunks: readonly Buffer[], count: number): Buffer[] {
  let left = count
  const rest: Buffer[] = []
  for (const chunk of chunks) {
    if (left >= chunk.byteLength) left -= chunk.byteLength
    else {
      rest.push(left === 0 ? chunk : chunk.subarray(left))
      left = 0
    }
  }
  return rest
}
