import { io } from '../../src/storage/io.ts'
import { endsWithTest } from './ends.ts'

/** The bytes that this process reads from its drives, from `boundReads` on. */
export interface Reads {
  bytes: number
}

/**
 * Counts them, and lets all reading fail behind `most`: what would be read for hours ends. Done with at the test's end.
 */
export function boundReads(most: number): Reads {
  const { read } = io
  const reads = { bytes: 0 }
  io.read = async (...args) => {
    const result = await read(...args)
    reads.bytes += result.bytesRead
    if (reads.bytes > most) throw new Error(`more than ${most} bytes are read`)
    return result
  }
  endsWithTest(async () => {
    io.read = read
  })
  return reads
}
