import type { Library } from '../archive/library.ts'
import { ifReadable } from '../base/if-readable.ts'
import { type Listed, listFolder, listFolders } from '../catalogue/folders.ts'
import type { AppError } from '../errors.ts'
import { parseLibraryPath } from '../format/layout.ts'
import { sizeOf } from '../storage/originals.ts'
import { verifyOriginal } from '../verify/verify-original.ts'

export interface LossOptions {
  /** Hears how many originals have been looked for, now and then. */
  report: (files: number) => void
  /** Hears of a folder or file that could not be looked at, and is left alone. */
  reportTrouble: (path: string, error: AppError) => void
  signal: AbortSignal
}

/** Originals whose state has changed. */
export interface Losses {
  lost: number
  restored: number
}

/** Files looked at at once. */
const PORTION = 500

/**
 * Looks for every original whose checksum is known on the drive, and reads those again that are not there, have another
 * size, or were lost and lie there again: what the catalogue says of them, and what `/photos/new` answers, then follows
 * from what is on the drive. Originals that are there with their size are not read. Throws `drive_missing`,
 * `database_unavailable`.
 */
export async function findLosses(library: Library, options: LossOptions): Promise<Losses> {
  const losses: Losses = { lost: 0, restored: 0 }
  let looked = 0
  await library.drive.check()
  for (const folder of await listFolders(library.db)) {
    const known = (await listFolder(library.db, folder, { isDirect: true })).filter((one) => one.checksum !== null)
    for (let start = 0; start < known.length; start += PORTION) {
      const portion = known.slice(start, start + PORTION)
      for (const suspect of await findSuspects(library, portion, options)) {
        options.signal.throwIfAborted()
        const path = parseLibraryPath(suspect.path)
        const outcome = await ifReadable(verifyOriginal(library, path), (error) => options.reportTrouble(path, error))
        if (outcome === undefined) continue
        if (outcome.state === 'intact' ? outcome.isRestored : outcome.isHealed) losses.restored++
        else if (outcome.state !== 'intact' && !suspect.isReported) losses.lost++
      }
      looked += portion.length
      options.report(looked)
    }
  }
  return losses
}

async function findSuspects(library: Library, portion: readonly Listed[], options: LossOptions): Promise<Listed[]> {
  options.signal.throwIfAborted()
  const looked = await Promise.all(
    portion.map((known) => {
      const looking = sizeOf(library.drive, parseLibraryPath(known.path))
      const suspect = looking.then((size) => (isSuspect(known, size) ? known : undefined))
      return ifReadable(suspect, (error) => options.reportTrouble(known.path, error))
    }),
  )
  return looked.filter((known) => known !== undefined)
}

function isSuspect(known: Listed, size: number | undefined): boolean {
  return size === undefined ? !known.isReported : known.isLost || (known.size !== null && known.size !== size)
}
