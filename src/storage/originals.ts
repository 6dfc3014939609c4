import { createHash } from 'node:crypto'
import { hasErrno } from '../errors.ts'
import type { LibraryPath } from '../format/layout.ts'
import type { Checksum } from '../media/checksum.ts'
import type { ReadAt } from '../media/read.ts'
import type { Drive } from './drive.ts'
import { driveError } from './drive-error.ts'
import { kindOf, StrangeEntry } from './entry.ts'
import { EDIT, io, READ } from './io.ts'
import { lookAt } from './look-at.ts'

const CHUNK_BYTES = 1024 * 1024

/** Size of the original at `path` in bytes; `undefined` if there is no regular file. Throws `drive_error`. */
export async function sizeOf(drive: Drive, path: LibraryPath): Promise<number | undefined> {
  try {
    const file = await lookAt(drive.at(path))
    return file?.isFile() ? Number(file.size) : undefined
  } catch (error) {
    throw driveError(error, `${path} was being looked for`)
  }
}

/**
 * What lies in the place of an original: a file of `size` bytes that was last touched at `changedAt` (ms since 1970),
 * or none.
 */
export type FileState = { size: number; changedAt: number } | 'absent' | 'unreadable'

/** Looks at the original at `path` without opening it. Anything that is no regular file counts as absent. */
export async function stateOf(drive: Drive, path: LibraryPath): Promise<FileState> {
  try {
    const file = await lookAt(drive.at(path))
    return file?.isFile() ? { size: Number(file.size), changedAt: Number(file.ctimeMs) } : 'absent'
  } catch (error) {
    if (!hasErrno(error) && !(error instanceof StrangeEntry)) throw error
    return 'unreadable'
  }
}

/**
 * What tells whether something else lies at `path` than did before, whatever lies there: its version changes when it is
 * written, moved or replaced; `size` is in bytes. `strange` says what is wrong if it is no file in a folder of the
 * library. `undefined` if nothing lies there. Where the drive can't say, the version is its error.
 */
export async function versionOf(
  drive: Drive,
  path: LibraryPath,
): Promise<{ version: string; strange: string | null; size: number } | undefined> {
  try {
    const file = await lookAt(drive.at(path))
    if (file === undefined) return undefined
    const { dev, ino, size, mtimeNs, ctimeNs } = file
    const strange = file.isFile() ? null : `${path} is ${kindOf(file)}`
    return { version: `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`, strange, size: Number(size) }
  } catch (error) {
    if (hasErrno(error)) return { version: error.code ?? error.message, strange: null, size: 0 }
    if (error instanceof StrangeEntry) return { version: error.message, strange: strangeness(error), size: 0 }
    throw error
  }
}

/** "2024 is a link". */
export function strangeness({ path, why }: StrangeEntry): string {
  return `${path} is ${why}`
}

/**
 * Reads the original at `path`, of `length` bytes, in chunks of 1 MiB and returns its checksum; `undefined` if it has
 * become longer. Throws `drive_error`, also if the file is gone.
 */
export async function checksumOf(drive: Drive, path: LibraryPath, length: number): Promise<Checksum | undefined> {
  const hash = createHash('sha256')
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
  let size = 0
  try {
    const file = await io.open(drive.at(path), READ)
    try {
      for (;;) {
        const { bytesRead } = await io.read(file, buffer, 0, CHUNK_BYTES, size)
        if (bytesRead === 0) break
        hash.update(buffer.subarray(0, bytesRead))
        size += bytesRead
        if (size > length) return undefined
      }
    } finally {
      await io.close(file)
    }
  } catch (error) {
    throw driveError(error, `${path} was being read`)
  }
  return hash.digest('hex') as Checksum
}

/** Makes the bytes of the original at `path` durable, whoever wrote them. Throws `drive_error`. */
export async function flushOriginal(drive: Drive, path: LibraryPath): Promise<void> {
  try {
    // To read is enough to flush, but on Windows; the file may be one that we may not write.
    const file = await io.open(drive.at(path), process.platform === 'win32' ? EDIT : READ)
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
export function withOriginal<Result>(
  drive: Drive,
  path: LibraryPath,
  use: (readAt: ReadAt) => Promise<Result>,
): Promise<Result> {
  return withDescriptor(drive, path, (file) =>
    use(async (position, length) => {
      const buffer = Buffer.allocUnsafe(length)
      const { bytesRead } = await io.read(file, buffer, 0, length, position)
      return buffer.subarray(0, bytesRead)
    }),
  )
}

/**
 * Has the file at `path` (relative to the library) open for reading while `use` runs. Throws `drive_error`, also if it
 * is gone.
 */
export async function withDescriptor<Result>(
  drive: Drive,
  path: string,
  use: (file: number) => Promise<Result>,
): Promise<Result> {
  try {
    const file = await io.open(drive.at(path), READ)
    try {
      return await use(file)
    } finally {
      await io.close(file)
    }
  } catch (error) {
    throw driveError(error, `${path} was being read`)
  }
}
