import fs, { type BigIntStats } from 'node:fs'
import { access, lstat, mkdir, readdir, readFile, rm, stat, statfs } from 'node:fs/promises'
import { promisify } from 'node:util'
import { makeFolders } from '../make-folders.ts'

/**
 * Every touch of the drive goes through here, so that there is one place where one can be made to fail. Files are plain
 * descriptors: each call that waits costs a trip to another thread, more than most of these calls cost themselves, and
 * `FileHandle` adds to it.
 */
export const io = {
  open: promisify(fs.open) as (path: string, flags: string | number) => Promise<number>,
  writev: promisify(fs.writev) as (
    file: number,
    chunks: readonly NodeJS.ArrayBufferView[],
    position: number,
  ) => Promise<{ bytesWritten: number }>,
  read: promisify(fs.read) as (
    file: number,
    buffer: NodeJS.ArrayBufferView,
    offset: number,
    length: number,
    position: number,
  ) => Promise<{ bytesRead: number }>,
  datasync: promisify(fs.fdatasync),
  close: promisify(fs.close),
  link: promisify(fs.link),
  rename: promisify(fs.rename),
  unlink: promisify(fs.unlink),
  mkdir: (path: string): Promise<void> => mkdir(path),
  mkdirs: (path: string, within?: string): Promise<string | undefined> => makeFolders(path, within),
  remove: (path: string): Promise<void> => rm(path, { recursive: true, force: true }),
  stat: (path: string): Promise<BigIntStats> => stat(path, { bigint: true }),
  statNow: (path: string): BigIntStats => fs.statSync(path, { bigint: true }),
  openNow: (path: string): number => fs.openSync(path, 'r'),
  closeNow: (file: number): void => fs.closeSync(file),
  fsync: promisify(fs.fsync),
  /** Whether this account may write there, and the file system takes writes: asks the system, not the drive. */
  mayWrite: (path: string): Promise<void> => access(path, fs.constants.W_OK),
  lstat: (path: string): Promise<BigIntStats> => lstat(path, { bigint: true }),
  readdir: (path: string): Promise<string[]> => readdir(path),
  readFile: (path: string): Promise<string> => readFile(path, 'utf8'),
  statfs: (path: string) => statfs(path),
}
