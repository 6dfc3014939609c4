/*
 * mirror/: The second copy: what it lacks is copied, what it has is read back, its journal follows.
 */

import { lockLibrary } from '../archive/folder-locks.ts'
import type { Library } from '../archive/library.ts'
import { Bell, rest } from '../base/bell.ts'
import type { ProcessLock } from '../base/process-lock.ts'
import { withResolvers } from '../base/resolvers.ts'
import { findLastCopy, recheckCopies } from '../catalogue/copies.ts'
import type { News } from '../catalogue/outbox.ts'
import { AppError, isAway } from '../errors.ts'
import type { Drive } from '../storage/drive.ts'
import { driveError } from '../storage/drive-error.ts'
import { clearStaging, LEFT_ALONE } from '../storage/staging.ts'
import { BacklogCount } from './backlog.ts'
import { JournalSchedule } from './journal-schedule.ts'
import { establishMirror } from './open.ts'
import { mirrorSource } from './source.ts'
import { describe, doubtAboutPlace, type MirrorStatus, type MirrorTrouble, troubleOf } from './status.ts'
import { type MirrorOptions, Upkeep, type Upkept } from './upkeep.ts'
import { WorkList } from './work-list.ts'

export interface KeeperOptions extends MirrorOptions {
  /**
   * Whether the server was ended cleanly before: what was copied just before an end that was not is read back first.
   */
  wasClean: boolean
}

/** How often a mirror that is away is looked for. */
const LOOK_MS = 1_000
/** A stop waits this long for the journal to be copied. */
const CLOSE_MS = 5_000
/** What may have suffered from trouble: whatever was copied within this time before it. */
const SUSPECT_MS = 900_000
/** How often it is made sure that nothing was overlooked: while the journal can't be written, little is heard of. */
const LOOK_THROUGH_MS = 3_600_000

/**
 * Keeps a second copy of the library, in the background: finds its drive, copies what is new and what it has missed.
 * From it, lost originals are healed.
 */
export class MirrorKeeper {
  readonly #library: Library
  readonly #options: KeeperOptions
  readonly #work: WorkList
  readonly #schedule = new JournalSchedule()
  readonly #backlog: BacklogCount
  readonly #firstLook = withResolvers<void>()
  readonly #bell = new Bell()
  #open: { upkeep: Upkeep; lock: ProcessLock } | undefined
  #trouble: MirrorTrouble | undefined
  #lookedThroughAt = 0
  /** Copies made around that time are in doubt; that of an earlier run is told by the catalogue. */
  #troubleAt: Date | 'last' | undefined

  constructor(library: Library, options: KeeperOptions) {
    this.#library = library
    this.#options = options
    this.#work = new WorkList(library.db)
    this.#backlog = new BacklogCount(library.db, library.now)
    this.#troubleAt = options.wasClean ? undefined : 'last'
    library.sources.push(mirrorSource(library, () => this.#drive()))
  }

  /** Hears of what has changed in the catalogue, from the outbox. */
  note({ originals, copySums = [] }: Pick<News, 'originals'> & Partial<News>): void {
    this.#backlog.expire()
    this.#schedule.noteChange()
    this.#work.hear(originals)
    if (copySums.length > 0) this.#open?.upkeep.compareSoon()
    if (originals.length + copySums.length > 0) this.#bell.ring()
  }

  /** Runs until `signal`. Waits for whatever is away, for as long as it takes. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const upkeep = await this.#openMirror(signal)
        this.#firstLook.resolve()
        await upkeep.run()
        await this.#closeMirror()
      } catch (error) {
        if (signal.aborted) break
        const reason = driveError(error, 'the second copy was being looked for')
        if (reason.code === 'mirror_missing' || !isAway(reason)) this.#setTrouble(troubleOf(reason), reason)
        this.#firstLook.resolve()
        await this.#closeMirror()
        await rest(LOOK_MS, signal)
      }
    }
    this.#firstLook.resolve()
  }

  /** Call it after `run`, when the library's journal is complete: copies the rest of it, if that is quickly done. */
  async close(): Promise<void> {
    const deadline = AbortSignal.timeout(CLOSE_MS)
    try {
      await this.#open?.upkeep.journal.update(async () => deadline.throwIfAborted())
    } catch (error) {
      const message = 'the second copy has not got the end of the journal; the next start does it'
      this.#options.log.warn({ err: error }, message)
    } finally {
      await this.#closeMirror()
    }
  }

  /** How the second copy is at this moment. Call it after `run`. Throws `database_unavailable`. */
  async status(): Promise<MirrorStatus> {
    await this.#firstLook.promise
    try {
      if (this.#open !== undefined) await this.#drive()
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      this.#setTrouble(troubleOf(error), error)
      this.#bell.ring()
    }
    return describe(this.#library, this.#options.folder, this.#trouble, await this.#backlog.get())
  }

  async #openMirror(signal: AbortSignal): Promise<Upkeep> {
    const { folder, log } = this.#options
    const id = await establishMirror(this.#library, folder)
    const lock = await lockLibrary(folder, id)
    if (lock === undefined) {
      throw new AppError(
        'drive_error',
        'Another iClood server is using the folder of the second copy. Stop that one, or give this one another MIRROR_FOLDER.',
      )
    }
    const upkeep = new Upkeep(this.#library, id, this.#options, this.#upkept(), signal)
    this.#open = { upkeep, lock }
    const { others } = await clearStaging(upkeep.mirror.drive)
    if (others.length > 0) log.warn({ mirror: folder, names: others.slice(0, 10) }, LEFT_ALONE)
    await this.#doubtCopies()
    this.#work.lookThrough()
    this.#lookedThroughAt = performance.now()
    this.#schedule.expire()
    // It may be another mirror than before.
    this.#backlog.expire()
    this.#setTrouble(undefined)
    log.info({ mirror: folder }, 'the second copy is there')
    const doubt = await doubtAboutPlace(this.#library, folder)
    if (doubt !== undefined) log.warn({ mirror: folder }, doubt)
    return upkeep
  }

  #upkept(): Upkept {
    return {
      work: this.#work,
      schedule: this.#schedule,
      sleep: (ms, signal) => this.#sleep(ms, signal),
      progressed: () => this.#backlog.expire(),
      setTrouble: (trouble, cause) => this.#setTrouble(trouble, cause),
    }
  }

  async #closeMirror(): Promise<void> {
    const open = this.#open
    if (open === undefined) return
    this.#open = undefined
    this.#troubleAt = this.#library.now()
    await open.lock.release()
  }

  /** After trouble, what was copied just before it is read back at once. */
  async #doubtCopies(): Promise<void> {
    const { db } = this.#library
    const at = this.#troubleAt === 'last' ? await findLastCopy(db, this.#library.now()) : this.#troubleAt
    if (at !== undefined) await recheckCopies(db, new Date(at.getTime() - SUSPECT_MS))
    this.#troubleAt = undefined
  }

  async #drive(): Promise<Drive> {
    if (this.#open === undefined) throw new AppError('mirror_missing', 'The second copy is not there.')
    const { drive } = this.#open.upkeep.mirror
    await drive.check()
    return drive
  }

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    await this.#bell.wait(ms, signal)
    this.#bell.silence()
    signal.throwIfAborted()
    if (performance.now() - this.#lookedThroughAt < LOOK_THROUGH_MS) return
    this.#lookedThroughAt = performance.now()
    if ((await this.#backlog.get()).files > 0) this.#work.lookThrough()
  }

  /** Says once what is wrong, and once that it is well again. */
  #setTrouble(trouble: MirrorTrouble | undefined, cause?: AppError): void {
    const before = this.#trouble
    this.#trouble = trouble
    if (before?.state === trouble?.state && before?.reason === trouble?.reason) return
    const { log, folder, onTrouble } = this.#options
    onTrouble()
    if (trouble === undefined) log.info({ mirror: folder }, 'the second copy is well again')
    else log.warn({ mirror: folder, state: trouble.state, err: cause?.cause ?? cause }, trouble.reason)
  }
}
