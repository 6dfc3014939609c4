import { type Library, withOwnReader } from '../archive/library.ts'
import { Backoff } from '../base/backoff.ts'
import { Bell } from '../base/bell.ts'
import { believed } from '../base/clock.ts'
import { ifReadable } from '../base/if-readable.ts'
import { Patience } from '../base/patience.ts'
import { countOpenFindings } from '../catalogue/findings.ts'
import { findLibrarySince, findWalk, recordWalk } from '../catalogue/library.ts'
import { LIBRARY } from '../catalogue/places.ts'
import {
  findLastBackup,
  findOldestProof,
  isTroubled,
  listDue,
  listUncertain,
  type Provable,
  type Proven,
  recheckSince,
  recordVerified,
} from '../catalogue/verification.ts'
import { AppError, hasCode } from '../errors.ts'
import { type LibraryPath, parseLibraryPath } from '../format/layout.ts'
import type { Pause } from '../storage/direct-read.ts'
import { walkFolders } from './folders.ts'
import { healFromUnknown } from './heal.ts'
import { dueAt, dueBefore, horizon, type Rules, walkDueAt } from './schedule.ts'
import { examine, healed, type Outcome, readBack, verifyOriginal } from './verify-original.ts'

export interface ContinuousOptions {
  /** Milliseconds within which every original is read back. */
  every: number
  /** Whether uploads are under way, or have been a moment ago. */
  isBusy: () => boolean
  /** As `Patience` has it. */
  patienceMs?: number
  atMostMs?: number
  log: { info(facts: object, message: string): void; warn(facts: object, message: string): void }
  /** Hears that something was found wrong, or healed. */
  onFinding: () => void
}

/** What may have suffered from trouble: whatever was stored within this time before it. */
const SUSPECT_MS = 15 * 60 * 1000
const PORTION = 100
const RECORD_MS = 10_000
const RETRY_MS = 10_000
/** After a loss the folders are looked through before the reading goes on, but not for each of many. */
const WALK_MS = 10 * 60 * 1000
/** So many errors in a row are the drive's, not the files'. */
const MAX_FAILURES = 3
/** The longest that a timer is trusted: clocks are set, and computers sleep. */
const SLEEP_MS = 60 * 60 * 1000

/**
 * Reads the library back in the background, one file at a time and while nobody uploads, else slowly, so that each
 * original is read within the time that is set; those first that were stored around trouble, then those whose last
 * proof is oldest. Compares the folders as often. While nothing is due it touches neither the drive nor the database.
 */
export class ContinuousVerification {
  readonly #library: Library
  readonly #options: ContinuousOptions
  readonly #rules: Rules
  readonly #patience: Patience
  /** Everything stored since then is to be read because of trouble; what was marked before is not marked again. */
  #suspectSince: Date | undefined
  #markedAt = 0
  #wantsWalk = false
  #walkedAt = Number.NEGATIVE_INFINITY
  readonly #bell = new Bell()
  #proven: Proven[] = []
  #recordedAt = 0
  /**
   * Originals that could not be judged, for reasons that may be the drive's: not tried again before everything else
   * was.
   */
  readonly #postponed = new Set<string>()
  #failures = 0
  #done = { files: 0, bytes: 0, findings: 0 }

  constructor(library: Library, options: ContinuousOptions) {
    this.#library = withOwnReader(library)
    this.#options = options
    this.#patience = new Patience(options.isBusy, options)
    this.#rules = { every: options.every, timeZone: library.timeZone }
  }

  /**
   * Call it before uploads are let in: after an unclean stop, what was stored before it is read first. Throws
   * `database_unavailable`.
   */
  async begin({ wasClean }: { wasClean: boolean }): Promise<void> {
    const last = wasClean ? undefined : await findLastBackup(this.#library.db, this.#library.now())
    if (last !== undefined) await recheckSince(this.#library.db, LIBRARY, new Date(last.getTime() - SUSPECT_MS))
  }

  /** Reads soon what is so marked in the catalogue, and what was stored around a time of trouble with the drive. */
  readonly readSoon: Library['readSoon'] = (around) => {
    if (around !== undefined) {
      const since = new Date(around.getTime() - SUSPECT_MS)
      if (this.#suspectSince === undefined || since < this.#suspectSince) this.#suspectSince = since
    }
    this.#bell.ring()
  }

  /** Runs until the signal, then rejects. Waits out a drive or database that is away. */
  async run(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(RETRY_MS)
    for (;;) {
      signal.throwIfAborted()
      this.#bell.silence()
      try {
        // The drive may be another one by now.
        this.#library.reader.forget()
        await this.#work(signal)
        backoff.succeeded()
        await this.#sleepUntil(await this.#nextDue(), signal)
      } catch (error) {
        if (!(error instanceof AppError)) throw error
        const { waitMs, isNews } = backoff.failed(error.code)
        if (isNews) this.#options.log.warn({ err: error }, 'reading photos back has to wait')
        this.#bell.silence()
        await this.#sleepUntil(this.#now() + waitMs, signal)
      }
    }
  }

  /** Does all that is due. */
  async #work(signal: AbortSignal): Promise<void> {
    this.#postponed.clear()
    this.#failures = 0
    try {
      for (;;) {
        await this.#markSuspects()
        const due = await this.#listDue()
        const wantsWalk = this.#wantsWalk && Math.abs(this.#now() - this.#walkedAt) > WALK_MS
        if (due.length > 0 && !wantsWalk) await this.#readAll(due, signal)
        else if (wantsWalk || (await this.#isWalkDue())) await this.#walk(signal)
        else break
      }
    } finally {
      this.#summarize()
    }
  }

  async #markSuspects(): Promise<void> {
    const since = this.#suspectSince
    if (since === undefined) return
    this.#suspectSince = undefined
    const now = this.#library.now()
    // A clock that was set back since has marked nothing of what comes now.
    const marked = this.#markedAt <= now.getTime() ? this.#markedAt : 0
    await recheckSince(this.#library.db, LIBRARY, new Date(Math.max(since.getTime(), marked))).catch(
      (error: unknown) => {
        this.readSoon(new Date(since.getTime() + SUSPECT_MS))
        throw error
      },
    )
    this.#markedAt = now.getTime()
  }

  async #listDue(): Promise<Provable[]> {
    const now = this.#now()
    const times = { before: new Date(dueBefore(now, this.#rules)), now: new Date(now) }
    const due = await listDue(this.#library.db, LIBRARY, times, PORTION + this.#postponed.size)
    return due.filter(({ path }) => !this.#postponed.has(path))
  }

  async #readAll(originals: readonly Provable[], signal: AbortSignal): Promise<void> {
    const pause: Pause = (_, letGo) => this.#patience.giveWay(signal, letGo)
    this.#recordedAt = this.#now()
    try {
      for (const original of originals) {
        await this.#patience.giveWay(signal)
        await this.#read(original, pause)
        if (this.#now() - this.#recordedAt > RECORD_MS) await this.#record()
        if (this.#suspectSince !== undefined) break
      }
    } finally {
      await this.#record()
    }
  }

  async #read(original: Provable, pause: Pause): Promise<void> {
    const path = parseLibraryPath(original.path)
    try {
      const outcome = (await examine(this.#library, original, pause)) ?? (await readBack(this.#library, path, pause))
      this.#failures = 0
      this.#done.files++
      if (outcome?.state === 'intact') {
        this.#done.bytes += outcome.size
        this.#proven.push({ path, ...outcome })
      } else if (outcome !== undefined) {
        await this.#conclude(path, outcome, pause)
      }
    } catch (error) {
      if (!hasCode(error, 'drive_error') || ++this.#failures >= MAX_FAILURES) throw error
      this.#options.log.warn({ path, err: error }, 'a photo could not be read back just now')
      this.#postponed.add(path)
    }
  }

  async #conclude(path: LibraryPath, lost: Outcome, pause: Pause): Promise<void> {
    const outcome = await healed(this.#library, path, lost, pause)
    if (outcome.state === 'intact') return
    const { state, found, isHealed } = outcome
    this.#done.findings++
    // It may only have been moved elsewhere on the drive.
    if (!isHealed) this.#wantsWalk = true
    if (state === 'unreadable') this.readSoon(this.#library.now())
    this.#options.log.warn({ path, state, found, isHealed }, 'a photo is not on the drive as it was stored')
    this.#options.onFinding()
  }

  async #record(): Promise<void> {
    const proven = this.#proven
    this.#proven = []
    this.#recordedAt = this.#now()
    await recordVerified(this.#library.db, LIBRARY, proven)
  }

  async #isWalkDue(): Promise<boolean> {
    return this.#wantsWalk || (await this.#walkDueAt()) <= this.#now()
  }

  /**
   * A library that was never walked through is as good as one that was when it was set up; one that was at a time that
   * can't be is not.
   */
  async #walkDueAt(): Promise<number> {
    const { db } = this.#library
    const now = this.#library.now()
    const walked = believed((await findWalk(db)) ?? (await findLibrarySince(db)) ?? now, now)
    if (walked === null) return Number.NEGATIVE_INFINITY
    const open = await countOpenFindings(db)
    return walkDueAt(
      walked.getTime(),
      open.some(({ copy }) => copy === 'library'),
      this.#rules,
    )
  }

  /** Compares the folders, and looks once more for what is lost and for what nobody could read. */
  async #walk(signal: AbortSignal): Promise<void> {
    const library = this.#library
    this.#wantsWalk = false
    const pause: Pause = (_, letGo) => this.#patience.giveWay(signal, letGo)
    const giveWay = () => this.#patience.giveWay(signal)
    const everything = { isSelected: () => true, isWithin: () => true }
    const walk = await walkFolders(library, { ...everything, pause: giveWay, signal })
    for (const path of await listUncertain(library.db)) {
      await giveWay()
      await ifReadable(verifyOriginal(library, parseLibraryPath(path), pause))
    }
    await healFromUnknown(library, walk.unknown, {}, giveWay)
    await recordWalk(library.db, library.now())
    this.#walkedAt = this.#now()
    if (walk.findings.length > 0) {
      const unknown = walk.unknown.map(({ path }) => path).slice(0, 10)
      this.#options.log.warn({ findings: walk.findings.length, unknown }, 'the folders are not as they should be')
    }
    this.#options.onFinding()
  }

  async #nextDue(): Promise<number> {
    const { db } = this.#library
    const now = this.#now()
    const oldest = await findOldestProof(db, LIBRARY, new Date(now))
    const isLate = this.#postponed.size > 0
    const due = [
      horizon(now, this.#rules),
      // What could not be judged waits a little, not for ever.
      isLate ? now + SLEEP_MS : oldest === undefined ? Number.POSITIVE_INFINITY : dueAt(oldest, this.#rules),
      await this.#walkDueAt(),
      (await isTroubled(db, LIBRARY)) && !isLate ? now : Number.POSITIVE_INFINITY,
    ]
    return Math.min(...due)
  }

  async #sleepUntil(due: number, signal: AbortSignal): Promise<void> {
    for (let left = due - this.#now(); left > 0 && !signal.aborted; left = due - this.#now()) {
      // Further ahead than anything can be: the clock has been set back, and what is due is another question.
      if (due > Math.max(horizon(this.#now(), this.#rules), this.#now() + SLEEP_MS)) return
      if (await this.#bell.wait(Math.min(left, SLEEP_MS), signal)) return
    }
  }

  #summarize(): void {
    if (this.#done.files > 0) this.#options.log.info(this.#done, 'read photos back from the drive')
    this.#done = { files: 0, bytes: 0, findings: 0 }
  }

  #now(): number {
    return this.#library.now().getTime()
  }
}
