import { type CopyWanted, findWanted, listWanted } from '../catalogue/copies.ts'
import { findCatalogued } from '../catalogue/files.ts'
import { listForMirror } from '../catalogue/places.ts'
import { type AppError, type ErrorCode, isAway } from '../errors.ts'
import { type LibraryPath, parseLibraryPath } from '../format/layout.ts'
import { SourceError } from '../storage/copy.ts'
import { driveError } from '../storage/drive-error.ts'
import { copyOriginal } from './copy-original.ts'
import type { Heard } from './heard.ts'
import type { Mirror } from './mirror.ts'
import { noteCopies, retireCopy } from './note-copies.ts'
import type { Postponed } from './postponed.ts'

/** What is copied before it is recorded: little is done twice after a kill. */
const BATCH_FILES = 20
/** Originals put on the list of a new mirror in one transaction. */
const LISTED_AT_ONCE = 10_000
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

/** Copies what a mirror that is there should have and has not, one original after the other, the newest first. */
export class Copier {
  readonly #mirror: Mirror
  readonly #heard: Heard
  readonly #postponed: Postponed
  readonly #options: CopierOptions
  /** Whether all originals are on the mirror's list. */
  #isListed = false
  #failures = 0

  constructor(mirror: Mirror, heard: Heard, postponed: Postponed, options: CopierOptions) {
    this.#mirror = mirror
    this.#heard = heard
    this.#postponed = postponed
    this.#options = options
  }

  /**
   * Copies the next few originals. Returns `false` if nothing is left. What fails for a reason of its own is postponed;
   * what stops everything is thrown (a drive or the database that is away, a drive that fails again and again).
   */
  async copyNext(): Promise<boolean> {
    const { library, place } = this.#mirror
    await this.#retireGone()
    if (!this.#isListed) this.#isListed = await listForMirror(library.db, place, LISTED_AT_ONCE)
    const { paths } = this.#postponed
    const wanted = paths === undefined ? [] : await listWanted(library.db, place, BATCH_FILES, paths)
    await this.#copyAll(wanted)
    return wanted.length > 0 || !this.#isListed
  }

  async #retireGone(): Promise<void> {
    const heard = this.#heard.take()
    if (heard.length === 0) return
    try {
      const known = await findCatalogued(this.#mirror.library.db, heard)
      for (const path of heard.filter((one) => !known.has(one))) await retireCopy(this.#mirror, parseLibraryPath(path))
    } catch (error) {
      this.#heard.hear(heard)
      throw error
    }
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
    const { library, place } = this.#mirror
    await library.drive.check()
    await this.#options.suspect(parseLibraryPath(wanted.path))
    const isStillWanted = (await findWanted(library.db, place, wanted.path)) !== undefined
    if (isStillWanted) this.#postponed.add(wanted, reason)
  }
}
