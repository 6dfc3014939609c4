import { type AppError, hasErrno } from '../errors.ts'
import { driveError } from './drive-error.ts'

/**
 * Flushes folders, sharing one flush among all who ask while none has begun: a flush makes durable every name that was
 * there when it began.
 */
export class FolderSync {
  readonly #sync: (folder: string) => Promise<void>
  /**
   * Folders whose flush failed: how often, and why. The system tells of lost names once; a second flush would
   * "succeed".
   */
  readonly #failed = new Map<string, { times: number; reason: AppError }>()
  readonly #running = new Map<string, Promise<void>>()
  readonly #waiting = new Map<string, Promise<void>>()

  /** `sync` flushes one folder. */
  constructor(sync: (folder: string) => Promise<void>) {
    this.#sync = sync
  }

  /** How often a flush of that folder has failed. */
  failures(folder: string): number {
    return this.#failed.get(folder)?.times ?? 0
  }

  /**
   * Resolves once every name that the folder has got since is durable: since `failures` was `since`. Throws
   * `drive_error`; for names that a failed flush may have dropped, from then on.
   */
  sync(folder: string, since: number): Promise<void> {
    const failed = this.#failed.get(folder)
    if (failed !== undefined && failed.times > since) return Promise.reject(failed.reason)
    const waiting = this.#waiting.get(folder)
    if (waiting !== undefined) return waiting
    const running = this.#running.get(folder)
    if (running === undefined) return this.#start(folder)
    const next = running.then(
      () => this.#startWaiting(folder),
      (failure: unknown) => {
        this.#waiting.delete(folder)
        throw failure
      },
    )
    this.#waiting.set(folder, next)
    return next
  }

  #startWaiting(folder: string): Promise<void> {
    this.#waiting.delete(folder)
    return this.#start(folder)
  }

  #start(folder: string): Promise<void> {
    const flush = this.#sync(folder)
      .catch((error: unknown) => {
        const reason = driveError(error, 'a folder was being flushed')
        // A folder that could not be opened, or closed, has lost nothing.
        const isFlush = hasErrno(error) && error.syscall === 'fsync'
        if (isFlush) this.#failed.set(folder, { times: this.failures(folder) + 1, reason })
        throw reason
      })
      .finally(() => {
        if (this.#running.get(folder) === flush) this.#running.delete(folder)
      })
    this.#running.set(folder, flush)
    return flush
  }
}
