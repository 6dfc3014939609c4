import { setImmediate, setTimeout } from 'node:timers/promises'
import { countUnread, listUnread } from '../catalogue/files.ts'
import { AppError } from '../errors.ts'
import { parseLibraryPath } from '../storage/layout.ts'
import type { Library } from './library.ts'
import { readOriginal } from './read-original.ts'

/** What the reading of an older server's originals has come to. */
export interface TakeOverProgress {
  done: number
  missing: number
  total: number
}

const PORTION = 100
const RETRY_MS = 30_000

/**
 * Reads the originals that an older server has left, one after the other, so that their content counts: bytes that are there
 * already are not stored again. Gives way to uploads (`isBusy`), waits out a drive or database that is away, and goes on
 * after a restart where it was. `report` hears of the progress now and then. Resolves when nothing is left or on `signal`.
 */
export async function takeOver(
  library: Library,
  options: {
    isBusy: () => boolean
    report: (progress: TakeOverProgress) => void
    reportTrouble: (path: string, error: AppError) => void
    signal: AbortSignal
  },
): Promise<void> {
  const { signal } = options
  const giveWay = async () => {
    signal.throwIfAborted()
    await setImmediate()
    while (options.isBusy()) await setTimeout(100, undefined, { signal })
  }
  try {
    const progress: TakeOverProgress = { done: 0, missing: 0, total: (await countUnread(library.db)).files }
    if (progress.total === 0) return
    let after = ''
    for (;;) {
      const paths = await listUnread(library.db, after, PORTION)
      if (paths.length === 0) break
      for (const path of paths) {
        await giveWay()
        const isThere = await readPatiently(library, path, giveWay, options)
        if (isThere === false) progress.missing++
        progress.done++
        after = path
      }
      options.report(progress)
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

/** Returns whether the original is on the drive; `undefined` if it is, but could not be read: the next start tries again. */
async function readPatiently(
  library: Library,
  path: string,
  giveWay: () => Promise<void>,
  options: { reportTrouble: (path: string, error: AppError) => void; signal: AbortSignal },
): Promise<boolean | undefined> {
  for (;;) {
    try {
      return (await readOriginal(library, parseLibraryPath(path), giveWay)) !== undefined
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      options.reportTrouble(path, error)
      if (error.code !== 'drive_missing' && error.code !== 'database_unavailable') return undefined
      await setTimeout(RETRY_MS, undefined, { signal: options.signal })
    }
  }
}
