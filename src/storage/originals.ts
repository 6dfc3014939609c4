import { createHash } from 'node:crypto'
import { hasErrno } from '../errors.ts'
import type { Checksum } from '../media/checksum.ts'
import type { ReadAt } from '../media/read.ts'
import type { Drive } from './drive.ts'
import { driveError } from './drive-error.ts'
import { io } from './io.ts'
import type { LibraryPath } from './layout.ts'

const CHUNK_BYTES = 1024 * 1024

/** Size of the original at `path` in bytes; `undefined` if there is no regular file. Throws `drive_error`. */
export async function sizeOf(drive: Drive, path: LibraryPath): Promise<number | undefined> {
  try {
    const file = await io.lstat(drive.resolve(path))
    return file.isFile() ? Number(file.size) : undefined
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw driveError(error, `${path} was being looked for`)
  }
}

/**
 * Reads the original at `path` in chunks of 1 MiB and returns its checksum and size. `pause` is awaited after each chunk: it
 * lets a background reader give way, or stop by throwing. Throws `drive_error`, also if the file is gone.
 */
export async function checksumOf(
  drive: Drive,
  path: LibraryPath,
  pause?: () => Promise<void>,
): Promise<{ checksum: Checksum; size: number }> {
  const hash = createHash('sha256')
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
  let size = 0
  try {
    const file = await io.open(drive.resolve(path), 'r')
    try {
      for (;;) {
        const { bytesRead } = await io.read(file, buffer, 0, CHUNK_BYTES, size)
        if (bytesRead === 0) break
        hash.update(buffer.subarray(0, bytesRead))
        size += bytesRead
        await pause?.()
      }
    } finally {
      await io.close(file)
    }
  } catch (error) {
    throw driveError(error, `${path} was being read`)
  }
  return { checksum: hash.digest('hex') as Checksum, size }
}

/** Makes the bytes of the original at `path` durable, whoever wrote them. Throws `drive_error`. */
export async function flushOriginal(drive: Drive, path: LibraryPath): Promise<void> {
  try {
    // To read is enough to flush, but on Windows; the file may be one that we may not write.
    const file = await io.open(drive.resolve(path), process.platform === 'win32' ? 'r+' : 'r')
    try {
      await io.datasync(file)
    } finally {
      await io.close(file)
    }
  } catch (error) {
    throw driveError(error, `${path} was being flushed`)
  }
}

/** Reads parts of the original at `path` while `use` runs. Throws `drive_error`, also if it is gone. */
export async function withOriginal<Result>(
  drive: Drive,
  path: LibraryPath,
  use: (readAt: ReadAt) => Promise<Result>,
): Promise<Result> {
  try {
    const file = await io.open(drive.resolve(path), 'r')
    try {
      return await use(async (position, length) => {
        const buffer = Buffer.allocUnsafe(length)
        const { bytesRead } = await io.read(file, buffer, 0, length, position)
        return buffer.subarray(0, bytesRead)
      })
    } finally {
      await io.close(file)
    }
  } catch (error) {
    throw driveError(error, `${path} was being read`)
  }
}
