import { AppError } from '../errors.ts'
import type { Drive } from './drive.ts'
import { driveError } from './drive-error.ts'
import { io, READ } from './io.ts'
import type { StagedFile } from './staging.ts'

const CHUNK_BYTES = 1024 * 1024

/** Of a copy, it is the source that could not be read; `cause` says why. */
export class SourceError extends Error {
  override readonly cause: AppError

  constructor(cause: AppError) {
    super(cause.message)
    this.cause = cause
  }
}

/**
 * Reads the file at `path` on `source` into `target`, which may lie on another drive, with two chunks of 1 MiB in
 * memory: while one is written the next is read. `pause` is awaited after each: it lets a background copy give way, or
 * stop by throwing. The caller finishes and discards `target`. Throws `SourceError` with a `drive_error` if the source
 * is gone, can't be read or has more than `limit` bytes, and what `target` throws.
 */
export async function copyInto(
  target: StagedFile,
  source: Drive,
  path: string,
  { limit, pause }: { limit: number; pause?: (() => Promise<void>) | undefined },
): Promise<void> {
  const file = await reading(path, io.open(source.at(path), READ))
  try {
    let [buffer, other] = [Buffer.allocUnsafe(CHUNK_BYTES), Buffer.allocUnsafe(CHUNK_BYTES)]
    for (let position = 0; ; ) {
      const { bytesRead } = await reading(path, io.read(file, buffer, 0, CHUNK_BYTES, position))
      await target.written()
      if (bytesRead === 0) return
      if (position + bytesRead > limit) throw longer(path, limit)
      target.write(buffer.subarray(0, bytesRead))
      position += bytesRead
      const next = other
      other = buffer
      buffer = next
      await pause?.()
    }
  } finally {
    await reading(path, io.close(file))
  }
}

function longer(path: string, limit: number): SourceError {
  return new SourceError(new AppError('drive_error', `${path} is longer than the ${limit} bytes that it may have.`))
}

async function reading<Result>(path: string, work: Promise<Result>): Promise<Result> {
  try {
    return await work
  } catch (error) {
    throw new SourceError(driveError(error, `${path} was being read`))
  }
}
