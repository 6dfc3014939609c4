import fs, { type BigIntStats } from 'node:fs'
import { access, lstat, mkdir, readdir, readFile, rmdir, stat, statfs, unlink } from 'node:fs/promises'
import { promisify } from 'node:util'
import { hasErrno } from '../errors.ts'
import { makeFolders } from '../make-folders.ts'
import { type Entry, lookForStrange } from './entry.ts'
import { inFolder, within } from './inside.ts'

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
  rmdir: (path: string): Promise<void> => rmdir(path),
  stat: (path: string): Promise<BigIntStats> => stat(path, { bigint: true }),
  statNow: (path: string): BigIntStats => fs.statSync(path, { bigint: true }),
  openNow: (path: string): number => fs.openSync(path, 'r'),
  closeNow: (file: number): void => fs.closeSync(file),
  fsync: promisify(fs.fsync),
  /** Whether this account may write there, and the file system takes writes: asks the system, not the drive. */
  mayWrite: (path: string): Promise<void> => access(path, fs.constants.W_OK),
  lstat: (path: string): Promise<BigIntStats> => lstat(path, { bigint: true }),
  readdir: (path: string): Promise<string[]> => readdir(path),
  /** The names in a folder of a library. */
  list: (folder: Entry): Promise<string[]> => inFolder(folder, (path) => readdir(path)),
  /** Makes a folder of a library; one that is there already will do, if it is one. */
  makeFolder: (folder: Entry): Promise<boolean> => makeFolder(folder),
  /** Removes a regular file, and nothing else: returns whether it was one. */
  unlinkFile: (file: Entry): Promise<boolean> => unlinkFile(file),
  readFile: (path: string): Promise<string> => readFile(path, 'utf8'),
  statfs: (path: string) => statfs(path),
}

async function makeFolder(folder: Entry): Promise<boolean> {
  try {
    await within(folder, (path) => mkdir(path))
    return true
  } catch (error) {
    if (!hasErrno(error, 'EEXIST')) throw error
  }
  const strange = await lookForStrange(folder.root, folder.path, 'a folder')
  if (strange !== undefined) throw folder.root.note(strange)
  return false
}

function unlinkFile(file: Entry): Promise<boolean> {
  return within(file, async (path) => {
    if (!(await lstat(path)).isFile()) return false
    await unlink(path)
    return true
  })
}
