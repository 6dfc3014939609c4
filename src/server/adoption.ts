import { setTimeout } from 'node:timers/promises'
import type { Library } from '../archive/library.ts'
import { type Resolvers, withResolvers } from '../base/resolvers.ts'
import { isTakenOver } from '../catalogue/files.ts'
import { findWalk, recordWalk } from '../catalogue/library.ts'
import { AppError } from '../errors.ts'
import { lookAtOld } from '../phones/look-at-old.ts'
import { findLosses } from '../rebuild/losses.ts'
import { adoptStrangers, settleAdopted } from '../rebuild/strangers.ts'
import { type TakeOverProgress, takeOver } from '../verify/take-over.ts'
import type { Start } from './start.ts'

const RETRY_MS = 10_000
const PROGRESS_MS = 10_000

/**
 * Sees to it that the catalogue knows what lies on the drive: files that a killed server, another one or a person has
 * left there, and originals that were never read.
 */
export class Adoption {
  readonly #library: Library
  readonly #start: Pick<Start, 'log' | 'state' | 'signal'>
  /** How often a walk was asked for, and which of these the last one that came to its end was begun after. */
  #wanted = 0
  #walked = 0
  #awake: Resolvers<void> = withResolvers()

  constructor(library: Library, start: Pick<Start, 'log' | 'state' | 'signal'>) {
    this.#library = library
    this.#start = start
    library.unrecorded.listen(() => this.wake())
  }

  /**
   * Adopts what the server left that was not ended cleanly before (`wasClean`), and comes to the end of a rebuild that
   * was not: looks for what the drive does not have, too. Call it before phones are let in: what looks like a stranger
   * must not be an upload that is about to be recorded. A household that comes from an older server has nothing of
   * that, and is not kept waiting.
   */
  async begin(wasClean: boolean): Promise<void> {
    const { db, now } = this.#library
    const { signal } = this.#start
    const isWalked = (await findWalk(db)) !== undefined
    if (wasClean && isWalked) return
    if (!isWalked && (await isTakenOver(db))) {
      this.wake()
      return recordWalk(db, now())
    }
    await this.#adopt(signal)
    if (isWalked) return
    await this.#findLosses(signal)
    await recordWalk(db, now())
  }

  /**
   * There may be strangers: the drive has been away, and others may have written to it; or an upload could not be
   * recorded.
   */
  wake(): void {
    this.#wanted++
    this.#awake.resolve()
  }

  /**
   * Whether the drive may have something that the catalogue does not: an unclean stop's business if nobody sees to it
   * before.
   */
  get isOwed(): boolean {
    return this.#wanted > this.#walked || !this.#library.unrecorded.isEmpty
  }

  /**
   * Does what is to be done, now and whenever it is woken, until the signal; then rejects. What fails is tried again.
   */
  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted()
      this.#awake = withResolvers()
      try {
        await this.#look(signal)
        if (this.#wanted > this.#walked) await this.#adopt(signal)
        await this.#read(signal)
        if (this.#wanted === this.#walked) await untilAborted(this.#awake.promise, signal)
      } catch (error) {
        if (!(error instanceof AppError)) throw error
        await setTimeout(RETRY_MS, undefined, { signal })
      }
    }
  }

  async #adopt(signal: AbortSignal): Promise<void> {
    const wanted = this.#wanted
    const adopted = await adoptStrangers(this.#library, {
      reportTrouble: this.#reportTrouble,
      signal,
    })
    if (adopted.files > 0) this.#start.log.info(adopted, 'found files without a record on the drive and took them in')
    await settleAdopted(this.#library)
    this.#walked = wanted
  }

  async #look(signal: AbortSignal): Promise<void> {
    const looked = await lookAtOld(this.#library, signal)
    if (looked.refuted === 0) return
    this.#start.log.warn(
      looked,
      'of the photos that an older server has stored, some are not there; phones are asked for them',
    )
    this.#start.state.trouble()
  }

  async #findLosses(signal: AbortSignal): Promise<void> {
    const { log } = this.#start
    const report = seldom((files: number) => log.info({ files }, 'looking for the photos on the drive'))
    const losses = await findLosses(this.#library, { report, reportTrouble: this.#reportTrouble, signal })
    if (losses.lost > 0) log.warn(losses, 'photos are not on the drive any more; phones are asked for them')
  }

  async #read(signal: AbortSignal): Promise<void> {
    const { log, state } = this.#start
    const report = seldom((progress: TakeOverProgress) =>
      log.info(progress, 'reading photos that have not been read yet'),
    )
    const isBusy = () => state.uploads.size > 0
    const progress = await takeOver(this.#library, { isBusy, report, reportTrouble: this.#reportTrouble, signal })
    if (progress.done === 0 || signal.aborted) return
    log.info(progress, 'read all photos that had not been read yet')
  }

  readonly #reportTrouble = (path: string, error: AppError): void => {
    this.#start.log.warn({ path, err: error }, 'something in the library could not be read')
  }
}

/** Calls `report` every ten seconds at most. */
function seldom<Progress>(report: (progress: Progress) => void): (progress: Progress) => void {
  let reported = performance.now()
  return (progress) => {
    if (performance.now() - reported < PROGRESS_MS) return
    reported = performance.now()
    report(progress)
  }
}

async function untilAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  const { promise: aborted, resolve } = withResolvers<void>()
  signal.addEventListener('abort', () => resolve(), { once: true })
  await Promise.race([promise, aborted])
  signal.throwIfAborted()
}
