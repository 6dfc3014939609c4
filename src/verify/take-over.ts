import { setTimeout } from 'node:timers/promises'
import { type Library, withOwnReader } from '../archive/library.ts'
import { Patience } from '../base/patience.ts'
import { countUnread, listUnread } from '../catalogue/files.ts'
import { AppError, isAway } from '../errors.ts'
import { type LibraryPath, parseLibraryPath } from '../format/layout.ts'
import { healed, readBack } from './verify-original.ts'

/** What the reading of originals has come to. */
export interface TakeOverProgress {
  /** Originals dealt with, whatever came of it. */
  done: number
  /** Those of them that are not on the drive, or damaged there, or could not be read. */
  missing: number
  corrupt: number
  unreadable: number
  bytes: number
  /** As far as it is known; somebody else may read some of them, too. */
  total: number
  totalBytes: number
}

const PORTION = 100
const RETRY_MS = 30_000

/**
 * Reads the originals whose checksums are not known yet, one after the other, so that their content counts: those that
 * an older server has left, and those that were found without a record. Bytes that are there already are not stored
 * again. Gives way to uploads (`isBusy`, see `Patience`), waits out a drive or database that is away, and goes on after
 * a restart where it was; of several that are asked to, one reads at a time. `report` hears of the progress often.
 * Resolves when nothing is left or on `signal`.
 */
export async function takeOver(
  library: Library,
  options: {
    isBusy: () => boolean
    patienceMs?: number
    atMostMs?: number
    report: (progress: TakeOverProgress) => void
    reportTrouble: (path: string, error: AppError) => void
    signal: AbortSignal
  },
): Promise<TakeOverProgress> {
  const { signal } = options
  const progress: TakeOverProgress = {
    done: 0,
    missing: 0,
    corrupt: 0,
    unreadable: 0,
    bytes: 0,
    total: 0,
    totalBytes: 0,
  }
  const patience = new Patience(options.isBusy, options)
  const giveWay = async (bytes = 0, letGo?: () => Promise<void>) => {
    progress.bytes += bytes
    if (bytes > 0) options.report(progress)
    await patience.giveWay(signal, letGo)
  }
  const reading = withOwnReader(library)
  try {
    for (let after: string | undefined = ''; after !== undefined; ) {
      after = await library.locks.reading.run('', () => {
        signal.throwIfAborted()
        return readPortion(reading, after ?? '', progress, giveWay, options)
      })
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
  return progress
}

/** Reads some originals after the path `after`; returns the last one's path, `undefined` when there are no more. */
async function readPortion(
  library: Library,
  after: string,
  progress: TakeOverProgress,
  giveWay: (bytes?: number, letGo?: () => Promise<void>) => Promise<void>,
  options: Parameters<typeof takeOver>[1],
): Promise<string | undefined> {
  const left = await countUnread(library.db)
  progress.total = progress.done - progress.unreadable + left.files
  progress.totalBytes = progress.bytes + left.bytes
  const paths = await listUnread(library.db, after, PORTION)
  for (const path of paths) {
    await giveWay()
    const outcome = await readPatiently(library, path, giveWay, options)
    progress.done++
    if (outcome !== 'read') progress[outcome]++
    options.report(progress)
  }
  return paths.at(-1)
}

type Outcome = 'read' | 'missing' | 'corrupt' | 'unreadable'

/**
 * Reads an original that the drive or the database may not have just now. What could not be read is tried again at the
 * next start.
 */
async function readPatiently(
  library: Library,
  path: string,
  giveWay: (bytes?: number, letGo?: () => Promise<void>) => Promise<void>,
  options: { reportTrouble: (path: string, error: AppError) => void; signal: AbortSignal },
): Promise<Outcome> {
  for (;;) {
    try {
      return await readFirst(library, parseLibraryPath(path), giveWay)
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      options.reportTrouble(path, error)
      if (!isAway(error)) return 'unreadable'
      await setTimeout(RETRY_MS, undefined, { signal: options.signal })
    }
  }
}

async function readFirst(
  library: Library,
  path: LibraryPath,
  giveWay: (bytes?: number, letGo?: () => Promise<void>) => Promise<void>,
): Promise<Outcome> {
  const outcome = await readBack(library, path, giveWay)
  const result = outcome === undefined ? undefined : await healed(library, path, outcome, giveWay)
  return result === undefined || result.state === 'intact' || result.isHealed ? 'read' : result.state
}
