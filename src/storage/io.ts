import type { BigIntStats } from 'node:fs'
import {
  type FileHandle,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  statfs,
  unlink,
} from 'node:fs/promises'
import { hasErrno } from '../errors.ts'

/** Every touch of the drive goes through here, so that there is one place where one can be made to fail. */
export const io = {
  open: (path: string, flags: string | number): Promise<FileHandle> => open(path, flags),
  writev: (file: FileHandle, chunks: readonly Uint8Array[], position: number): Promise<{ bytesWritten: number }> =>
    file.writev(chunks as Uint8Array[], position),
  read: (file: FileHandle, buffer: Uint8Array, position: number): Promise<{ bytesRead: number }> =>
    file.read(buffer, 0, buffer.byteLength, position),
  datasync: (file: FileHandle): Promise<void> => file.datasync(),
  link,
  rename,
  unlink,
  mkdir: (path: string): Promise<void> => mkdir(path),
  mkdirs: (path: string): Promise<string | undefined> => mkdir(path, { recursive: true }),
  remove: (path: string): Promise<void> => rm(path, { recursive: true, force: true }),
  stat: (path: string): Promise<BigIntStats> => stat(path, { bigint: true }),
  lstat: (path: string): Promise<BigIntStats> => lstat(path, { bigint: true }),
  readdir: (path: string): Promise<string[]> => readdir(path),
  readFile: (path: string): Promise<string> => readFile(path, 'utf8'),
  statfs: (path: string) => statfs(path),

  /**
   * Makes the entries of a folder durable. A file system or system that can't flush a folder (Windows, some network and
   * FUSE file systems) says so with one of these errnos; an error of the drive itself is never among them.
   */
  async syncFolder(path: string): Promise<void> {
    let folder: FileHandle
    try {
      folder = await io.open(path, 'r')
    } catch (error) {
      if (process.platform === 'win32' && hasErrno(error, 'EISDIR', 'EPERM')) return
      throw error
    }
    try {
      await folder.sync()
    } catch (error) {
      if (!hasErrno(error, 'EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS')) throw error
    } finally {
      await folder.close()
    }
  },
}
