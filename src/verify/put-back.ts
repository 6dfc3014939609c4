import type { Library } from '../archive/library.ts'
import { recordContent } from '../archive/read-original.ts'
import { type HeldLoss, holdingLost } from '../catalogue/losses.ts'
import { AppError } from '../errors.ts'
import { type LibraryPath, splitPath } from '../format/layout.ts'
import type { Staged } from '../storage/staging.ts'

/**
 * Puts a staged original, whose bytes are durable, into the place of a lost one with the same content, durably, and
 * declares that one restored; `by` goes on after "healed by". One that was lost before it had been read takes any
 * content, and is that of the address `sentFrom` from then on. Returns `false`, with nothing done, if something lies
 * there, or if the original is not lost (any more).
 */
export async function putBack(
  library: Library,
  staged: Staged,
  path: LibraryPath,
  by: string,
  sentFrom: string | null = null,
): Promise<boolean> {
  await library.committer.makeFolder(splitPath(path).folder)
  let isUnread = false
  const restore = async (held: HeldLoss) => {
    isUnread = held.checksum === null
    if (held.checksum !== null && held.checksum !== staged.checksum) return false
    try {
      await library.committer.takeName(staged.path, path)
    } catch (error) {
      if (error instanceof AppError && error.code === 'name_taken') return false
      throw error
    }
    await library.committer.settle(path)
    await held.restored(by, staged.size, library.now(), isUnread ? sentFrom : null)
    return true
  }
  const isBack = await library.locks.loss.run('', () => holdingLost(library.db, path, restore))
  if (isBack !== true) return false
  if (isUnread) await recordContent(library, path, staged, null)
  return true
}
