import { setTimeout } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Library } from '../archive/library.ts'
import { Patience } from '../base/patience.ts'
import { listRestorable } from '../catalogue/copies.ts'
import type { MirrorPlace } from '../catalogue/places.ts'
import { type AppError, hasCode, isAway } from '../errors.ts'
import { type LibraryPath, parseLibraryPath } from '../format/layout.ts'
import { Drive } from '../storage/drive.ts'
import { driveError } from '../storage/drive-error.ts'
import { MIRROR_DRIVE } from '../storage/drive-role.ts'
import { JournalCopy } from '../storage/journal/copy.ts'
import { compareFolders } from './compare-folders.ts'
import { Copier } from './copier.ts'
import { DueCopies } from './due-copies.ts'
import type { Heard } from './heard.ts'
import type { JournalSchedule } from './journal-schedule.ts'
import { createMirror, type Mirror } from './mirror.ts'
import { mirrorBackoff, Postponed } from './postponed.ts'
import { type MirrorTrouble, troubleOf } from './status.ts'

export interface MirrorOptions {
  /** Absolute. */
  folder: string
  /** Bytes. */
  minFreeSpace: number
  /** Milliseconds within which every copy is read back. */
  verifyEvery: number
  /** Whether uploads are under way. */
  isBusy: () => boolean
  /**
   * Reads an original back that seems not to be intact any more, declares it lost if so and restores it if that can be
   * done.
   */
  suspect: (path: LibraryPath) => Promise<void>
  log: Pick<Logger, 'info' | 'warn'>
  /** Hears of everything that may be a problem, or the end of one. */
  onTrouble: () => void
}

/** What outlives the times during which the mirror is there. */
export interface Upkept {
  readonly heard: Heard
  readonly schedule: JournalSchedule
  /** Resolves when there may be work, or after `ms`; rejects on `signal`. */
  sleep(ms: number, signal: AbortSignal): Promise<void>
  /** What is wrong, or nothing any more. */
  setTrouble(trouble: MirrorTrouble | undefined, cause?: AppError): void
}

/** How often a mirror that has nothing to do is looked at. */
const GLANCE_MS = 30_000
/** What changes at about the same time is copied together. */
const GATHER_MS = 300
/** When something else than the mirror is away, it is soon back. */
const AWAY_RETRY_MS = 1_000
/** The longest that uploads hold up one chunk: the mirror must not wait for days for a first backup to end. */
const AT_MOST_MS = 250
const PORTION = 100

/**
 * All that is done to a mirror while it is there: originals and the journal are copied, copies are read back. One thing
 * at a time.
 */
export class Upkeep {
  readonly mirror: Mirror
  readonly journal: JournalCopy
  readonly #options: MirrorOptions
  readonly #upkept: Upkept
  readonly #signal: AbortSignal
  readonly #patience: Patience
  readonly #postponed = new Postponed()
  readonly #copier: Copier
  readonly #due: DueCopies
  #journalTrouble: MirrorTrouble | undefined
  /** The drive has been away, and may be another device now: what was learnt about it no longer holds. */
  #hasReturned = false
  #hasRestored = false
  /** When the folders are to be compared, by the clock of `performance.now()`. */
  #compareAt = 0
  #isFailing = false

  constructor(library: Library, place: MirrorPlace, options: MirrorOptions, upkept: Upkept, signal: AbortSignal) {
    const onReturned = () => {
      this.#hasReturned = true
    }
    const drive = new Drive(options.folder, place.identity, { onMissing: () => {}, onReturned }, MIRROR_DRIVE)
    this.mirror = createMirror(library, place.id, drive, options.minFreeSpace, (path) => upkept.heard.has(path))
    this.journal = new JournalCopy(library.drive, drive, this.mirror.committer)
    this.#options = options
    this.#patience = new Patience(options.isBusy, { patienceMs: 0, atMostMs: AT_MOST_MS })
    this.#upkept = upkept
    this.#signal = signal
    const { suspect, verifyEvery: every, log, onTrouble } = options
    const pause = () => this.#pause()
    this.#copier = new Copier(this.mirror, upkept.heard, this.#postponed, { signal, pause, suspect })
    const onFinding = (isHealed: boolean) => {
      onTrouble()
      // It is wanted again.
      if (!isHealed) upkept.heard.hear([])
    }
    this.#due = new DueCopies(this.mirror, { every, pause, isWanted: () => this.#isWanted, log, onFinding })
  }

  /** Goes on until the mirror goes away, which it throws, or has been away. Waits out everything else that is wrong. */
  async run(): Promise<void> {
    const backoff = mirrorBackoff()
    while (!this.#hasReturned) {
      try {
        await this.#doAll()
        backoff.succeeded()
      } catch (error) {
        this.#signal.throwIfAborted()
        const reason = driveError(error, 'the second copy was being written')
        await this.mirror.drive.check()
        const { waitMs } = backoff.failed()
        if (!isAway(reason)) {
          this.#isFailing = true
          this.#upkept.setTrouble(troubleOf(reason), reason)
        }
        await setTimeout(isAway(reason) ? AWAY_RETRY_MS : waitMs, undefined, { signal: this.#signal })
        continue
      }
      if (!this.#isWanted) await this.#rest()
    }
  }

  get #isWanted(): boolean {
    return this.#upkept.heard.isThere || this.#upkept.schedule.isDue
  }

  async #doAll(): Promise<void> {
    if (!this.#hasRestored) await this.#restoreLost()
    for (let isMore = true; isMore; ) {
      isMore = await this.#copier.copyNext()
      await this.#updateJournal()
      // A long catching up does not have to be over before it shows that the drive is well again.
      if (this.#isFailing) this.#upkept.setTrouble(this.#trouble)
      this.#isFailing = false
    }
    this.#upkept.setTrouble(this.#trouble)
    if (this.#postponed.trouble === undefined) this.#postponed.forget()
    while (!this.#isWanted && (await this.#due.verifyNext()));
    if (!this.#isWanted && performance.now() >= this.#compareAt) await this.#compareFolders()
  }

  /** What others have done to the folders, and what a kill or a cut has left. */
  async #compareFolders(): Promise<void> {
    const pause = () => this.#pause()
    const all = { isWithin: () => true, isSelected: () => true }
    const findings = await compareFolders(this.mirror, { ...all, pause, signal: this.#signal })
    this.#compareAt = performance.now() + this.#options.verifyEvery / 2
    if (findings.length === 0) return
    this.#options.log.warn({ findings: findings.length }, 'the folders of the second copy were not as they should be')
    this.#options.onTrouble()
  }

  get #trouble(): MirrorTrouble | undefined {
    return this.#postponed.trouble ?? this.#journalTrouble
  }

  /** What the library has lost while the mirror was away comes back from it. */
  async #restoreLost(): Promise<void> {
    const { place, library } = this.mirror
    let after: string | undefined = ''
    while (after !== undefined) {
      const paths: string[] = await listRestorable(library.db, place, after, PORTION)
      for (const path of paths) {
        await this.#pause()
        await this.#options.suspect(parseLibraryPath(path))
      }
      after = paths.at(-1)
    }
    this.#hasRestored = true
  }

  /** A journal that can't be copied does not keep photos from being copied. */
  async #updateJournal(): Promise<void> {
    const { schedule } = this.#upkept
    if (!schedule.isDue) return
    schedule.begin()
    try {
      schedule.end(await this.journal.update(() => this.#pause()))
      this.#journalTrouble = undefined
    } catch (error) {
      this.#signal.throwIfAborted()
      schedule.retry()
      const reason = driveError(error, 'the journal was being copied')
      if (isAway(reason)) throw reason
      this.#journalTrouble = troubleOf(reason)
    }
  }

  /** Returns when there is something to do. */
  async #rest(): Promise<void> {
    const now = performance.now()
    const until = Math.min(this.#upkept.schedule.dueAt, this.#postponed.dueAt)
    await this.#upkept.sleep(Math.min(until - now, this.#due.dueIn, GLANCE_MS), this.#signal)
    await this.mirror.drive.check()
    await setTimeout(GATHER_MS, undefined, { signal: this.#signal })
    if (performance.now() >= this.#postponed.dueAt) await this.#retryPostponed()
  }

  async #retryPostponed(): Promise<void> {
    const { needs } = this.#postponed
    if (needs !== undefined && !(await this.#hasRoomFor(needs))) {
      this.#postponed.wait()
      return
    }
    this.#postponed.retry()
  }

  async #hasRoomFor(bytes: number): Promise<boolean> {
    try {
      const reservation = await this.mirror.space.reserve(bytes)
      reservation.release()
      return true
    } catch (error) {
      if (hasCode(error, 'disk_full')) return false
      throw error
    }
  }

  /** Gives way to uploads, though not for ever. */
  async #pause(): Promise<void> {
    await this.#patience.giveWay(this.#signal)
  }
}
