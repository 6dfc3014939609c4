import { setTimeout } from 'node:timers/promises'
import { findWalk, recordWalk } from './catalogue/folders.ts'
import { AppError } from './errors.ts'
import type { Library } from './ingest/library.ts'
import { findLosses } from './ingest/rebuild/losses.ts'
import { adoptStrangers } from './ingest/rebuild/strangers.ts'
import { type TakeOverProgress, takeOver } from './ingest/take-over.ts'
import { type Resolvers, withResolvers } from './resolvers.ts'
import type { Start } from './start.ts'

const RETRY_MS = 10_000
const PROGRESS_MS = 10_000

/**
 * Sees to it that the catalogue knows what lies on the drive: files that a killed server, another one or a person has left there, and
 * originals that were never read.
 */
export class Adoption {
  readonly #library: Library
  readonly #start: Pick<Start, 'log' | 'state' | 'signal'>
  #wantsWalk = false
  #wantsLosses = false
  #awake: Resolvers<void> = withResolvers()

  constructor(library: Library, start: Pick<Start, 'log' | 'state' | 'signal'>) {
    this.#library = library
    this.#start = start
  }

  /**
   * Adopts what an unclean end of the server before has left, if it was one. Call it before uploads are let in: what it takes for a
   * stranger must not be an upload that is about to be recorded. After a rebuild, `isRebuilt`, also looks for what the drive does not have.
   */
  async begin({ wasClean, isRebuilt }: { wasClean: boolean; isRebuilt: boolean }): Promise<void> {
    const { walkedAt } = await findWalk(this.#library.db)
    this.#wantsLosses = walkedAt === null
    if (!wasClean || walkedAt === null) await this.#adopt(this.#start.signal, false)
    if (isRebuilt) await this.#findLosses(this.#start.signal)
  }

  /** The drive is back: others may have written to it. */
  wake(): void {
    this.#wantsWalk = true
    this.#awake.resolve()
  }

  /** Does what is to be done, now and whenever it is woken, until the signal; then rejects. What fails is tried again. */
  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted()
      this.#awake = withResolvers()
      try {
        if (this.#wantsLosses) await this.#findLosses(signal)
        if (this.#wantsWalk) await this.#adopt(signal, true)
        await this.#read(signal)
        if (!this.#wantsWalk) await untilAborted(this.#awake.promise, signal)
      } catch (error) {
        if (!(error instanceof AppError)) throw error
        await setTimeout(RETRY_MS, undefined, { signal })
      }
    }
  }

  async #adopt(signal: AbortSignal, uploadsMayCome: boolean): Promise<void> {
    this.#wantsWalk = false
    try {
      const adopted = await adoptStrangers(this.#library, {
        uploadsMayCome,
        reportTrouble: this.#reportTrouble,
        signal,
      })
      if (adopted.files > 0) this.#start.log.info(adopted, 'found files without a record on the drive and took them in')
      if (!this.#wantsLosses) await recordWalk(this.#library.db, this.#library.now())
    } catch (error) {
      this.#wantsWalk = true
      throw error
    }
  }

  async #findLosses(signal: AbortSignal): Promise<void> {
    const losses = await findLosses(this.#library, { reportTrouble: this.#reportTrouble, signal })
    if (losses.lost > 0) this.#start.log.warn(losses, 'photos are not on the drive any more; phones are asked for them')
    this.#wantsLosses = false
    await recordWalk(this.#library.db, this.#library.now())
  }

  async #read(signal: AbortSignal): Promise<void> {
    const { log, state } = this.#start
    let reported = performance.now()
    const report = (progress: TakeOverProgress) => {
      if (performance.now() - reported < PROGRESS_MS) return
      reported = performance.now()
      log.info(progress, 'reading photos that have not been read yet')
    }
    const isBusy = () => state.uploads.size > 0
    const progress = await takeOver(this.#library, { isBusy, report, reportTrouble: this.#reportTrouble, signal })
    if (progress.done > 0 && !signal.aborted) log.info(progress, 'read all photos that had not been read yet')
  }

  readonly #reportTrouble = (path: string, error: AppError): void => {
    this.#start.log.warn({ path, err: error }, 'something in the library could not be read')
  }
}

async function untilAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise: aborted, resolve } = withResolvers<void>()
  signal.addEventListener('abort', () => resolve(), { once: true })
  await Promise.race([promise, aborted])
  signal.throwIfAborted()
}
