/*
 * mirror/: The second copy: what it lacks is copied, what it has is read back, its journal follows.
 */

import { lockLibrary } from '../archive/folder-locks.ts'
import type { Library } from '../archive/library.ts'
import { Bell, rest } from '../base/bell.ts'
import type { ProcessLock } from '../base/process-lock.ts'
import { withResolvers } from '../base/resolvers.ts'
import type { News } from '../catalogue/outbox.ts'
import { findMirrorAt, type PlaceId } from '../catalogue/places.ts'
import { findLastProof, recheckSince } from '../catalogue/verification.ts'
import { AppError, isAway } from '../errors.ts'
import { driveError } from '../storage/drive-error.ts'
import { clearStaging, LEFT_ALONE } from '../storage/staging.ts'
import { Heard } from './heard.ts'
import { JournalSchedule } from './journal-schedule.ts'
import type { Mirror } from './mirror.ts'
import { establishMirror } from './open.ts'
import { mirrorSource } from './source.ts'
import { backlogOf, describe, doubtAboutPlace, type MirrorStatus, type MirrorTrouble, troubleOf } from './status.ts'
import { type MirrorOptions, Upkeep, type Upkept } from './upkeep.ts'

export interface KeeperOptions extends MirrorOptions {
  /** Those of all mirrors that are wanted; left out: of this one alone. */
  folders?: readonly string[]
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

/**
 * Keeps a second copy of the library, in the background: finds its drive, copies what is new and what it has missed.
 * From it, lost originals are healed.
 */
export class MirrorKeeper {
  readonly #library: Library
  readonly #options: KeeperOptions
  readonly #heard = new Heard()
  readonly #schedule = new JournalSchedule()
  #look = withResolvers<void>()
  readonly #bell = new Bell()
  #open: { upkeep: Upkeep; lock: ProcessLock } | undefined
  #trouble: MirrorTrouble | undefined
  /** Which place it was when it was last there. */
  #place: PlaceId | undefined
  /** Copies made around that time are in doubt; that of an earlier run is told by the catalogue. */
  #troubleAt: Date | 'last' | undefined

  constructor(library: Library, options: KeeperOptions) {
    this.#library = library
    this.#options = options
    this.#troubleAt = options.wasClean ? undefined : 'last'
    library.sources.push(mirrorSource(library, () => this.#mirror()))
  }

  get folder(): string {
    return this.#options.folder
  }

  get #folders(): readonly string[] {
    return this.#options.folders ?? [this.folder]
  }

  /** Hears of what has changed in the catalogue, from the outbox. */
  note({ originals }: Pick<News, 'originals'>): void {
    this.#schedule.noteChange()
    this.#heard.hear(originals)
    if (originals.length > 0) this.#bell.ring()
  }

  /** Runs until `signal`. Waits for whatever is away, for as long as it takes. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let isLooking = true
      try {
        const upkeep = await this.#openMirror(signal)
        isLooking = false
        this.#look.resolve()
        await upkeep.run()
        await this.#closeMirror()
      } catch (error) {
        if (signal.aborted) break
        const reason = driveError(error, 'the second copy was being looked for')
        if (reason.code === 'mirror_missing' || !isAway(reason)) this.#setTrouble(troubleOf(reason), reason)
        if (isLooking) this.#look.resolve()
        await this.#closeMirror()
        await rest(LOOK_MS, signal)
      }
    }
    this.#look.resolve()
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
    await this.#look.promise
    try {
      if (this.#open !== undefined) await this.#mirror()
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      this.#setTrouble(troubleOf(error), error)
      this.#bell.ring()
    }
    const place = this.#place ?? (await findMirrorAt(this.#library.db, this.folder, this.#folders))?.id
    return describe(this.#library, this.#options.folder, this.#trouble, await backlogOf(this.#library, place))
  }

  /** The mirror, there. Call it after `run`. Throws `mirror_missing` with what is wrong. */
  async kept(): Promise<Mirror> {
    await this.#look.promise
    if (this.#open === undefined && this.#trouble !== undefined) {
      throw new AppError('mirror_missing', this.#trouble.reason)
    }
    return this.#mirror()
  }

  /** Another mirror was put in its place: resolves once that is kept, or it is known why not. */
  async lookAnew(): Promise<void> {
    const expected = await findMirrorAt(this.#library.db, this.folder, this.#folders)
    if (expected !== undefined && this.#open?.upkeep.mirror.place === expected.id) return
    this.#look = withResolvers()
    this.#bell.ring()
    await this.#look.promise
  }

  async #openMirror(signal: AbortSignal): Promise<Upkeep> {
    const { folder, log } = this.#options
    const place = await establishMirror(this.#library, folder, this.#folders)
    const lock = await lockLibrary(folder, place.identity)
    if (lock === undefined) {
      throw new AppError(
        'drive_error',
        'Another iClood server is using the folder of the second copy. Stop that one, or give this one another MIRROR_FOLDER.',
      )
    }
    const upkeep = new Upkeep(this.#library, place, this.#options, this.#upkept(), signal)
    this.#open = { upkeep, lock }
    this.#place = place.id
    const { others } = await clearStaging(upkeep.mirror.drive)
    if (others.length > 0) log.warn({ mirror: folder, names: others.slice(0, 10) }, LEFT_ALONE)
    await this.#doubtCopies(place.id)
    this.#schedule.expire()
    this.#setTrouble(undefined)
    log.info({ mirror: folder }, 'the second copy is there')
    const doubt = await doubtAboutPlace(this.#library, folder)
    if (doubt !== undefined) log.warn({ mirror: folder }, doubt)
    return upkeep
  }

  #upkept(): Upkept {
    return {
      heard: this.#heard,
      schedule: this.#schedule,
      sleep: (ms, signal) => this.#sleep(ms, signal),
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
  async #doubtCopies(place: PlaceId): Promise<void> {
    const { db } = this.#library
    const at = this.#troubleAt === 'last' ? await findLastProof(db, place, this.#library.now()) : this.#troubleAt
    if (at !== undefined) await recheckSince(db, place, new Date(at.getTime() - SUSPECT_MS))
    this.#troubleAt = undefined
  }

  async #mirror(): Promise<Mirror> {
    if (this.#open === undefined) throw new AppError('mirror_missing', 'The second copy is not there.')
    const { mirror } = this.#open.upkeep
    await mirror.drive.check()
    return mirror
  }

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    await this.#bell.wait(ms, signal)
    this.#bell.silence()
    signal.throwIfAborted()
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
