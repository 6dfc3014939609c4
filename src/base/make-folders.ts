import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { hasErrno } from '../errors.ts'

/**
 * Makes the folder `path` (absolute) and those above it that are missing, as `mkdir -p` does. Returns the first one
 * that it has made; `undefined` if all were there. System errors pass, as the system gave them: Node's own recursive
 * `mkdir` reports a file system that is read-only, over its quota or broken as ENOENT, which sends people looking for
 * the wrong thing.
 */
export async function makeFolders(path: string): Promise<string | undefined> {
  try {
    await mkdir(path)
    return path
  } catch (error) {
    if (!hasErrno(error, 'ENOENT')) {
      if (await isFolder(path)) return undefined
      throw error
    }
    const above = dirname(path)
    if (above === path) throw error
    const made = await makeFolders(above)
    // Somebody may have made it in the meantime, or taken the one above it away.
    await mkdir(path).catch(async (again: unknown) => {
      if (!hasErrno(again, 'EEXIST') || !(await isFolder(path))) throw again
    })
    return made ?? path
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch (error) {
    if (hasErrno(error)) return false
    throw error
  }
}
