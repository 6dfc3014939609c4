import { setImmediate, setTimeout } from 'node:timers/promises'
import type { Logger } from 'pino'
import { type Backlog, listMissingWithCopy, sumUncopied } from '../../catalogue/copies.ts'
import { AppError, type ErrorCode } from '../../errors.ts'
import { lockLibrary } from '../../folder-locks.ts'
import type { ProcessLock } from '../../process-lock.ts'
import { withResolvers } from '../../resolvers.ts'
import { Drive, MIRROR_DRIVE } from '../../storage/drive.ts'
import { driveError } from '../../storage/drive-error.ts'
import { JournalCopy } from '../../storage/journal/copy.ts'
import { type LibraryPath, parseLibraryPath } from '../../storage/layout.ts'
import { clearStaging } from '../../storage/staging.ts'
import type { Change, NoteChange } from '../changes.ts'
import type { Library } from '../library.ts'
import { Copier } from './copier.ts'
import { JournalSchedule } from './journal-schedule.ts'
import { createMirror, type Mirror } from './mirror.ts'
import { establishMirror } from './open.ts'
import { Postponed } from './postponed.ts'
import { mirrorSource } from './source.ts'
import { describe, type MirrorStatus, type MirrorTrouble, troubleOf } from './status.ts'
import { WorkList } from './work-list.ts'

export interface MirrorOptions {
  /** Absolute. */
  folder: string
  /** Bytes. */
  minFreeSpace: number
  isBusy: () => boolean
  /** Reads an original back that seems not to be intact any more, declares it lost if so and restores it if that can be done. */
  suspect: (path: LibraryPath) => Promise<void>
  log: Pick<Logger, 'info' | 'warn'>
}

/** How often a mirror that is away is looked for. */
const LOOK_MS = 1_000
/** How often one that has nothing to do is looked at. */
const GLANCE_MS = 30_000
/** What changes at about the same time is copied together. */
const GATHER_MS = 300
const FIRST_RETRY_MS = 10_000
const LAST_RETRY_MS = 600_000
/** The longest that uploads hold up one chunk: the mirror must not wait for days for a first backup to end. */
const PATIENCE_MS = 1_000
/** A stop waits this long for the journal to be copied. */
const CLOSE_MS = 5_000
/** How often it is counted what the mirror does not have, when nobody has told of a change: commands beside the server don't. */
const COUNT_MS = 60_000
/** A count that takes longer is one of a large library, and not made whenever somebody asks. */
const CHEAP_MS = 100
const LOOK_THROUGH_MS = 3_600_000
/** Not the mirror's fault, and soon over. */
const ELSEWHERE: readonly ErrorCode[] = ['drive_missing', 'database_unavailable']

/** A mirror that is there. */
interface OpenMirror {
  readonly mirror: Mirror
  readonly journal: JournalCopy
  readonly lock: ProcessLock
}

/**
 * Keeps a second copy of the library, in the background: finds its drive, copies what is new and what it has missed. From it, lost
 * originals are healed.
 */
export class MirrorKeeper {
  readonly #library: Library
  readonly #options: MirrorOptions
  readonly #work: WorkList
  readonly #postponed = new Postponed()
  readonly #schedule = new JournalSchedule()
  readonly #firstLook = withResolvers<void>()
  #wake = withResolvers<void>()
  #open: OpenMirror | undefined
  /** The drive has come back in the meantime, perhaps as another device: what was learnt about it no longer holds. */
  #hasReturned = false
  #trouble: MirrorTrouble | undefined
  #journalTrouble: MirrorTrouble | undefined
  #backlog: { sum: Backlog; countedAt: number; cost: number } | undefined
  #isStale = true
  #lookedThroughAt = 0

  constructor(library: Library, options: MirrorOptions) {
    this.#library = library
    this.#options = options
    this.#work = new WorkList(library.db)
    library.sources.push(mirrorSource(library, () => this.#drive()))
  }

  readonly note: NoteChange = ({ originals = [], unsure }: Change) => {
    this.#isStale = true
    this.#schedule.noteChange()
    if (unsure) this.#lookThrough()
    this.#work.hear(originals)
    if (unsure || originals.length > 0) this.#wake.resolve()
  }

  /** Runs until `signal`. Waits for whatever is away, for as long as it takes. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#openMirror()
        this.#firstLook.resolve()
        await this.#keep(signal)
        await this.#closeMirror()
      } catch (error) {
        if (signal.aborted) break
        const reason = driveError(error, 'the second copy was being looked for')
        if (!ELSEWHERE.includes(reason.code)) this.#setTrouble(troubleOf(reason), reason)
        this.#firstLook.resolve()
        await this.#closeMirror()
        await setTimeout(LOOK_MS, undefined, { signal }).catch(() => {})
      }
    }
    this.#firstLook.resolve()
  }

  /** Call it after `run`, when the library's journal is complete: copies the rest of it, if that is quickly done. */
  async close(): Promise<void> {
    const deadline = AbortSignal.timeout(CLOSE_MS)
    try {
      await this.#open?.journal.update(async () => deadline.throwIfAborted())
    } catch (error) {
      this.#options.log.warn(
        { err: error },
        'the second copy has not got the end of the journal; the next start does it',
      )
    } finally {
      await this.#closeMirror()
    }
  }

  /** How the second copy is at this moment. Throws `database_unavailable`. */
  async status(): Promise<MirrorStatus> {
    await this.#firstLook.promise
    try {
      if (this.#open !== undefined) await this.#drive()
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      this.#setTrouble(troubleOf(error), error)
      this.#wake.resolve()
    }
    return describe(this.#library, this.#options.folder, this.#trouble, await this.#count())
  }

  async #openMirror(): Promise<void> {
    const { folder, minFreeSpace, log } = this.#options
    const id = await establishMirror(this.#library, folder)
    const lock = await lockLibrary(folder, id)
    if (lock === undefined) {
      throw new AppError(
        'drive_error',
        'Another iClood server is using the folder of the second copy. Stop that one, or give this one another MIRROR_FOLDER.',
      )
    }
    const events = {
      onMissing: () => {},
      onReturned: () => {
        this.#hasReturned = true
      },
    }
    const drive = new Drive(folder, id, events, MIRROR_DRIVE)
    const mirror = createMirror(this.#library, drive, minFreeSpace)
    this.#open = { mirror, journal: new JournalCopy(this.#library.drive, drive, mirror.committer), lock }
    await clearStaging(drive)
    this.#hasReturned = false
    this.#postponed.forget()
    this.#lookThrough()
    this.#schedule.expire()
    log.info({ mirror: folder }, 'the second copy is there')
  }

  async #closeMirror(): Promise<void> {
    const open = this.#open
    this.#open = undefined
    await open?.lock.release()
  }

  async #drive(): Promise<Drive> {
    if (this.#open === undefined) throw new AppError('mirror_missing', 'The second copy is not there.')
    const { drive } = this.#open.mirror
    await drive.check()
    return drive
  }

  /** Works until the mirror goes away, which it throws, or has been away. */
  async #keep(signal: AbortSignal): Promise<void> {
    const open = this.#open
    if (open === undefined) return
    const pause = () => this.#pause(signal)
    const copier = new Copier(open.mirror, this.#work, this.#postponed, { ...this.#options, signal, pause })
    let retries = 0
    await this.#restoreLost(pause)
    while (!this.#hasReturned) {
      try {
        for (let isMore = true; isMore; ) {
          isMore = await copier.copyNext()
          this.#isStale = true
          await this.#updateJournal(open.journal, signal)
        }
        retries = 0
      } catch (error) {
        signal.throwIfAborted()
        const reason = driveError(error, 'the second copy was being written')
        await open.mirror.drive.check()
        const isElsewhere = ELSEWHERE.includes(reason.code)
        if (!isElsewhere) this.#setTrouble(troubleOf(reason), reason)
        const wait = isElsewhere ? LOOK_MS : Math.min(FIRST_RETRY_MS * 2 ** retries++, LAST_RETRY_MS)
        await setTimeout(wait, undefined, { signal })
        continue
      }
      const { trouble } = this.#postponed
      if (trouble === undefined) this.#postponed.forget()
      this.#setTrouble(trouble ?? this.#journalTrouble)
      await this.#rest(open.mirror, signal)
    }
  }

  /** What the library has lost while the mirror was away comes back from it. */
  async #restoreLost(pause: () => Promise<void>): Promise<void> {
    let after = ''
    for (;;) {
      const paths = await listMissingWithCopy(this.#library.db, after, 100)
      if (paths.length === 0) return
      for (const path of paths) {
        await pause()
        await this.#options.suspect(parseLibraryPath(path))
        after = path
      }
    }
  }

  /** A journal that can't be copied does not keep photos from being copied. */
  async #updateJournal(journal: JournalCopy, signal: AbortSignal): Promise<void> {
    if (!this.#schedule.isDue) return
    this.#schedule.begin()
    try {
      this.#schedule.end(await journal.update(() => this.#pause(signal)))
      this.#journalTrouble = undefined
    } catch (error) {
      signal.throwIfAborted()
      this.#schedule.retry()
      const reason = driveError(error, 'the journal was being copied')
      if (ELSEWHERE.includes(reason.code) || reason.code === 'mirror_missing') throw reason
      this.#journalTrouble = troubleOf(reason)
    }
  }

  /** Returns when there is something to do. */
  async #rest(mirror: Mirror, signal: AbortSignal): Promise<void> {
    const until = Math.min(this.#schedule.dueAt, this.#postponed.dueAt, performance.now() + GLANCE_MS)
    const ending = new AbortController()
    const timer = setTimeout(Math.max(0, until - performance.now()), undefined, {
      signal: AbortSignal.any([signal, ending.signal]),
    })
    timer.catch(() => {})
    await Promise.race([this.#wake.promise, timer])
    ending.abort()
    this.#wake = withResolvers()
    await mirror.drive.check()
    await setTimeout(GATHER_MS, undefined, { signal })
    if (performance.now() >= this.#postponed.dueAt) await this.#retryPostponed(mirror)
    const isLong = performance.now() - this.#lookedThroughAt > LOOK_THROUGH_MS
    if (isLong && (await this.#count()).files > 0) this.#lookThrough()
  }

  #lookThrough(): void {
    this.#lookedThroughAt = performance.now()
    this.#work.lookThrough()
  }

  async #retryPostponed({ space }: Mirror): Promise<void> {
    const { needs } = this.#postponed
    if (needs !== undefined) {
      try {
        const reservation = await space.reserve(needs)
        reservation.release()
      } catch (error) {
        if (!(error instanceof AppError && error.code === 'disk_full')) throw error
        this.#postponed.wait()
        return
      }
    }
    const paths = this.#postponed.take()
    if (paths === undefined) this.#lookThrough()
    else this.#work.hear(paths)
  }

  /** Gives way to uploads, though not for ever. */
  async #pause(signal: AbortSignal): Promise<void> {
    this.#isStale = true
    signal.throwIfAborted()
    await setImmediate()
    for (let waited = 0; waited < PATIENCE_MS && this.#options.isBusy(); waited += 50) {
      await setTimeout(50, undefined, { signal })
    }
  }

  /** Counts again only when something may have changed, and so seldom that it costs little. */
  async #count(): Promise<Backlog> {
    const before = this.#backlog
    const begun = performance.now()
    if (before !== undefined) {
      const age = begun - before.countedAt
      const isTooSoon = before.cost > CHEAP_MS && age < before.cost * 20
      if (isTooSoon || (!this.#isStale && age < COUNT_MS)) return before.sum
    }
    this.#isStale = false
    const sum = await sumUncopied(this.#library.db)
    const countedAt = performance.now()
    this.#backlog = { sum, countedAt, cost: countedAt - begun }
    return sum
  }

  /** Says once what is wrong, and once that it is well again. */
  #setTrouble(trouble: MirrorTrouble | undefined, cause?: AppError): void {
    const before = this.#trouble
    this.#trouble = trouble
    if (before?.state === trouble?.state && before?.reason === trouble?.reason) return
    const { log, folder } = this.#options
    if (trouble === undefined) log.info({ mirror: folder }, 'the second copy is well again')
    else log.warn({ mirror: folder, state: trouble.state, err: cause?.cause ?? cause }, trouble.reason)
  }
}
