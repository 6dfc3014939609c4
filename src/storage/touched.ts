import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { hasErrno } from '../errors.ts'
import { PRIVATE_FOLDER } from '../format/layout.ts'
import type { Entry } from './entry.ts'
import { io } from './io.ts'

/**
 * What is done to files and folders that were touched a moment ago. Each trip to another thread costs more than the
 * system needs to answer from memory, so a local file system is asked on this thread. One behind FUSE or a network asks
 * somebody else, who may keep us waiting: there every call goes the long way.
 */
export interface Touched {
  /** Closes a file with nothing left to flush. */
  close(file: number): Promise<void>
  /** Makes the names in a folder durable. What a flush that failed has dropped is written again. */
  syncFolder(folder: Entry): Promise<void>
}

/** `f_type` of statfs(2) on Linux: ext2 to ext4, XFS, Btrfs, F2FS, tmpfs, exFAT, FAT. */
const LOCAL_TYPES = new Set([0xef53, 0x58465342, 0x9123683e, 0xf2f52010, 0x01021994, 0x2011bab0, 0x4d44])

/** Finds out what may be done on the file system that holds `path` (absolute). */
export async function touchedOn(path: string): Promise<Touched> {
  if (process.platform !== 'linux') return ELSEWHERE
  const { type } = await io.statfs(path)
  return LOCAL_TYPES.has(type) ? LOCAL : ELSEWHERE
}

const LOCAL: Touched = {
  close: async (file) => io.closeNow(file),
  syncFolder: (folder) => syncFolder(folder, LOCAL),
}

export const ELSEWHERE: Touched = {
  close: (file) => io.close(file),
  syncFolder: (folder) => syncFolder(folder, ELSEWHERE),
}

/**
 * The system tells of names that a flush has lost once: another flush would succeed, and write nothing. A change to the
 * folder has it write that again; what lies in another block of a large folder may still be lost.
 */
async function writeAgain({ root, path }: Entry): Promise<void> {
  const change = root.at(join(path, `${PRIVATE_FOLDER}-${randomUUID()}`))
  await io.mkdir(change)
  await io.rmdir(change)
}

/**
 * A file system or system that can't flush a folder (Windows, some network and FUSE file systems) says so with one of
 * these errnos; an error of the drive itself is never among them.
 */
async function syncFolder(entry: Entry, touched: Touched): Promise<void> {
  const { unflushed } = entry.root.answers
  if (unflushed.has(entry.path)) await writeAgain(entry)
  let folder: number
  try {
    folder = await io.openFolder(entry)
  } catch (error) {
    if (process.platform === 'win32' && hasErrno(error, 'EISDIR', 'EPERM')) return
    throw error
  }
  try {
    await io.fsync(folder)
    unflushed.delete(entry.path)
  } catch (error) {
    if (hasErrno(error, 'EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS')) return
    unflushed.add(entry.path)
    throw error
  } finally {
    await touched.close(folder)
  }
}
