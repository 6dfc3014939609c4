import { type CopyWanted, sortWanted } from '../catalogue/copies.ts'
import { type AppError, type ErrorCode, isAway } from '../errors.ts'
import { type LibraryPath, parseLibraryPath } from '../format/layout.ts'
import { SourceError } from '../storage/copy.ts'
import { driveError } from '../storage/drive-error.ts'
import { copyOriginal } from './copy-original.ts'
import type { Mirror } from './mirror.ts'
import { noteCopies, retireCopy } from './note-copies.ts'
import type { Postponed } from './postponed.ts'
import type { WorkList } from './work-list.ts'

/** Bytes copied before they are made known: little is compared again after a kill. */
const NOTE_BYTES = 64 * 1024 * 1024
/** So many failures in a row are the drive's, not the photos'. */
const MAX_FAILURES = 3
/** What may be the drive's, not the photo's. */
const FAILING: readonly ErrorCode[] = ['drive_error', 'internal_error']

export interface CopierOptions {
  /** Ends everything. */
  signal: AbortSignal
  /** Awaited between chunks: gives way to uploads, or throws to stop. */
  pause: () => Promise<void>
  /** Has an original read back that could not be copied from the library as it should be. */
  suspect: (path: LibraryPath) => Promise<void>
}

/** Copies what is on a work list to a mirror that is there, one original after the other. */
export class Copier {
  readonly #mirror: Mirror
  readonly #work: WorkList
  readonly #postponed: Postponed
  readonly #options: CopierOptions
  #failures = 0

  constructor(mirror: Mirror, work: WorkList, postponed: Postponed, options: CopierOptions) {
    this.#mirror = mirror
    this.#work = work
    this.#postponed = postponed
    this.#options = options
  }

  /**
   * Copies the next few originals. Returns `false` if nothing is left. What fails for a reason of its own is postponed;
   * what stops everything is thrown (a drive or the database that is away, a drive that fails again and again), and the
   * originals stay on the list.
   */
  async copyNext(): Promise<boolean> {
    const batch = await this.#work.next()
    if (batch === undefined) return false
    try {
      for (const path of batch.gone) await retireCopy(this.#mirror, parseLibraryPath(path))
      await this.#copyAll(batch.wanted)
    } catch (error) {
      // What was copied and could not be made known is found to be there.
      this.#work.hear([...batch.gone, ...batch.wanted.map(({ path }) => path)])
      throw error
    }
    return true
  }

  async #copyAll(wanted: readonly CopyWanted[]): Promise<void> {
    let copied: CopyWanted[] = []
    const note = async () => {
      const done = copied
      copied = []
      await noteCopies(this.#mirror, done)
    }
    try {
      let bytes = 0
      for (const one of wanted) {
        await this.#options.pause()
        if (!(await this.#copy(one))) continue
        copied.push(one)
        bytes += one.size ?? 0
        if (bytes < NOTE_BYTES) continue
        bytes = 0
        await note()
      }
    } finally {
      await note()
    }
  }

  /** Returns whether it lies on the mirror now. */
  async #copy(wanted: CopyWanted): Promise<boolean> {
    const { signal, pause } = this.#options
    try {
      await copyOriginal(this.#mirror, wanted, pause)
      this.#failures = 0
      return true
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof SourceError) {
        await this.#suspect(wanted, error.cause)
        return false
      }
      const reason = driveError(error, `${wanted.path} was being copied`)
      if (isAway(reason)) throw reason
      // What a drive answers that is not there is about the folder it was mounted on.
      await this.#mirror.drive.check()
      if (FAILING.includes(reason.code) && ++this.#failures >= MAX_FAILURES) {
        this.#failures = 0
        throw reason
      }
      this.#postponed.add(wanted, reason)
      return false
    }
  }

  async #suspect(wanted: CopyWanted, reason: AppError): Promise<void> {
    const { library } = this.#mirror
    await library.drive.check()
    await this.#options.suspect(parseLibraryPath(wanted.path))
    const { wanted: still } = await sortWanted(library.db, [wanted.path])
    if (still.length > 0) this.#postponed.add(wanted, reason)
  }
}
