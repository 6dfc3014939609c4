import fs, { type BigIntStats } from 'node:fs'
import { access, mkdir, readdir, readFile, rmdir, stat, statfs } from 'node:fs/promises'
import { promisify } from 'node:util'
import { makeFolders } from '../base/make-folders.ts'
import { hasErrno } from '../errors.ts'
import { isIn, isInNone, noted } from './answers.ts'
import { type Entry, lookForStrange, tooLarge } from './entry.ts'
import { inFolder, look, openAsFile, openAsFolder, within } from './inside.ts'

const { constants } = fs

/** How a file of a library is opened. One that is new is nobody's yet: the name must be free. */
export const READ = constants.O_RDONLY
export const EDIT = constants.O_RDWR
export const CREATE = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL

const link = promisify(fs.link)
const rename = promisify(fs.rename)
const unlink = promisify(fs.unlink)
const lstat = promisify(fs.lstat)
const read = promisify(fs.read) as (
  file: number,
  buffer: NodeJS.ArrayBufferView,
  offset: number,
  length: number,
  position: number,
) => Promise<{ bytesRead: number }>
const close = promisify(fs.close)

/**
 * Every touch of the drive goes through here, so that there is one place where one can be made to fail, and one that
 * follows no link: a call names an `Entry` of a library (see `within`). What is named by a path is not in a library.
 * Files are plain descriptors: each call that waits costs a trip to another thread, more than most of these calls cost
 * themselves, and `FileHandle` adds to it.
 */
export const io = {
  /** Opens a regular file. Throws `StrangeEntry` if it is anything else. */
  open: async (entry: Entry, flags: number): Promise<number> =>
    isIn(entry.root.answers, (await openAsFile(entry, flags)).file),
  openOwn,
  openFolder: async (entry: Entry): Promise<number> => isIn(entry.root.answers, await openAsFolder(entry)),
  writev: promisify(fs.writev) as (
    file: number,
    chunks: readonly NodeJS.ArrayBufferView[],
    position: number,
  ) => Promise<{ bytesWritten: number }>,
  read: noted(read),
  datasync: noted(promisify(fs.fdatasync)),
  fsync: noted(promisify(fs.fsync)),
  close: (file: number): Promise<void> => {
    isInNone(file)
    return close(file)
  },
  closeNow: (file: number): void => {
    isInNone(file)
    fs.closeSync(file)
  },
  link: (from: Entry, to: Entry): Promise<void> => within(from, (source) => within(to, (name) => link(source, name))),
  rename: (from: Entry, to: Entry): Promise<void> =>
    within(from, (source) => within(to, (name) => rename(source, name))),
  unlink: (entry: Entry): Promise<void> => within(entry, unlink),
  unlinkFile,
  mkdir: makeFolder,
  rmdir: (entry: Entry): Promise<void> => within(entry, rmdir),
  /** What stands at a name, without following it. Throws `StrangeEntry` if it lies in no folder of the library. */
  lstat: look,
  list: (folder: Entry): Promise<string[]> => inFolder(folder, (path) => readdir(path)),
  readText,
  /** Of paths outside every library: of its folder itself, of those above it, of the system. */
  mkdirs: (path: string): Promise<string | undefined> => makeFolders(path),
  stat: (path: string): Promise<BigIntStats> => stat(path, { bigint: true }),
  statfs: (path: string) => statfs(path),
  /** Whether this account may write there, and the file system takes writes: asks the system, not the drive. */
  mayWrite: (path: string): Promise<void> => access(path, constants.W_OK),
  readFile: (path: string): Promise<string> => readFile(path, 'utf8'),
}

/**
 * Opens a file that this server has made, to write into it as it is. `undefined` if it has another name somewhere: what
 * is written would be written there, too. Throws as `open`.
 */
async function openOwn(entry: Entry): Promise<{ file: number; size: number } | undefined> {
  const { file, stats } = await openAsFile(entry, EDIT)
  if (stats?.nlink === 1) return { file: isIn(entry.root.answers, file), size: stats.size }
  await close(file)
  return undefined
}

/** Makes a folder; returns whether it was missing. Throws `StrangeEntry` if something else has its name. */
async function makeFolder(entry: Entry): Promise<boolean> {
  try {
    await within(entry, (path) => mkdir(path))
    return true
  } catch (error) {
    if (!hasErrno(error, 'EEXIST')) throw error
  }
  const strange = await lookForStrange(entry.root, entry.path, 'a folder')
  if (strange !== undefined) throw entry.root.note(strange)
  return false
}

/** Removes a regular file, and nothing else; returns whether it was one. */
function unlinkFile(entry: Entry): Promise<boolean> {
  return within(entry, async (path) => {
    if (!(await lstat(path)).isFile()) return false
    await unlink(path)
    return true
  })
}

/** Reads a small file. Throws `StrangeEntry` if it is larger than `maxBytes`. */
async function readText(entry: Entry, maxBytes: number): Promise<string> {
  const { file, stats } = await openAsFile(entry, READ)
  try {
    const buffer = Buffer.allocUnsafe(Math.min(stats?.size ?? maxBytes, maxBytes) + 1)
    let size = 0
    for (;;) {
      const { bytesRead } = await read(file, buffer, size, buffer.byteLength - size, size)
      size += bytesRead
      if (size > maxBytes) throw entry.root.note(tooLarge(entry.root, entry.path, maxBytes))
      if (bytesRead === 0 || size === buffer.byteLength) return buffer.toString('utf8', 0, size)
    }
  } finally {
    await close(file)
  }
}
