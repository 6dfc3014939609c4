import { driveError } from './drive-error.ts'
import { io } from './io.ts'

/**
 * Flushes folders, sharing one flush among all who ask while none has begun: a flush makes durable every name that was
 * there when it began.
 */
export class FolderSync {
  readonly #running = new Map<string, Promise<void>>()
  readonly #waiting = new Map<string, Promise<void>>()

  /** Resolves once every name that the folder has now is durable. Throws `drive_error`; the next call tries anew. */
  sync(folder: string): Promise<void> {
    const waiting = this.#waiting.get(folder)
    if (waiting !== undefined) return waiting
    const running = this.#running.get(folder)
    if (running === undefined) return this.#start(folder)
    const next = running.then(
      () => this.#startWaiting(folder),
      () => this.#startWaiting(folder),
    )
    this.#waiting.set(folder, next)
    return next
  }

  #startWaiting(folder: string): Promise<void> {
    this.#waiting.delete(folder)
    return this.#start(folder)
  }

  #start(folder: string): Promise<void> {
    const flush = io
      .syncFolder(folder)
      .catch((error: unknown) => {
        throw driveError(error, 'a folder was being flushed')
      })
      .finally(() => {
        if (this.#running.get(folder) === flush) this.#running.delete(folder)
      })
    this.#running.set(folder, flush)
    return flush
  }
}
