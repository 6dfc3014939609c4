import { type AppError, hasErrno } from '../errors.ts'
import { driveError } from './drive-error.ts'

/**
 * Flushes folders, sharing one flush among all who ask while none has begun: a flush makes durable every name that was
 * there when it began.
 */
export class FolderSync {
  readonly #sync: (folder: string) => Promise<void>
  /** Folders whose flush failed. The system tells of lost entries once; a second flush would "succeed". */
  readonly #failed = new Map<string, AppError>()
  readonly #running = new Map<string, Promise<void>>()
  readonly #waiting = new Map<string, Promise<void>>()

  /** `sync` flushes one folder. */
  constructor(sync: (folder: string) => Promise<void>) {
    this.#sync = sync
  }

  /** Resolves once every name that the folder has now is durable. Throws `drive_error`, for that folder from then on. */
  sync(folder: string): Promise<void> {
    const failure = this.#failed.get(folder)
    if (failure !== undefined) return Promise.reject(failure)
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
        const failure = driveError(error, 'a folder was being flushed')
        // A folder that is gone has not been flushed at all.
        if (!hasErrno(error, 'ENOENT')) this.#failed.set(folder, failure)
        throw failure
      })
      .finally(() => {
        if (this.#running.get(folder) === flush) this.#running.delete(folder)
      })
    this.#running.set(folder, flush)
    return flush
  }
}
