import { acquireProcessLock, type ProcessLock } from '../base/process-lock.ts'
import { AppError, hasErrno } from '../errors.ts'
import { readIdentity } from '../storage/identity.ts'
import { io } from '../storage/io.ts'

/** Locks a folder under whatever path it is reached; `undefined` when another process has it. */
export async function lockFolder(path: string): Promise<ProcessLock | undefined> {
  return acquireProcessLock(await folderKey(path))
}

/**
 * Locks the library's folder, whatever is mounted there later, and the library `id`, which may be there under another
 * path as well; `undefined` when another process has one of them.
 */
export async function lockLibrary(folder: string, id: string): Promise<ProcessLock | undefined> {
  const folderLock = await lockFolder(folder)
  if (folderLock === undefined) return undefined
  // A folder that holds another library, or none, is another server's business.
  const found = await readIdentity(folder).catch((error: unknown) => {
    if (error instanceof AppError || hasErrno(error)) return undefined
    throw error
  })
  if (found !== id) return folderLock
  const libraryLock = await acquireProcessLock(id)
  if (libraryLock === undefined) {
    await folderLock.release()
    return undefined
  }
  return {
    release: async () => {
      await libraryLock.release()
      await folderLock.release()
    },
  }
}

/** One name for a folder: links, mounts, `..`; its path while there is none. */
async function folderKey(path: string): Promise<string> {
  try {
    const { dev, ino } = await io.stat(path)
    return `folder ${dev}:${ino}`
  } catch (error) {
    if (hasErrno(error)) return `folder ${path}`
    throw error
  }
}
