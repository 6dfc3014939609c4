import type { Logger } from 'pino'
import { Backoff } from '../base/backoff.ts'
import { AppError, isAway } from '../errors.ts'

export type Log = Pick<Logger, 'info' | 'warn' | 'error'>

const RETRY_MS = 5_000
/** A drive that can't be written, though it is there, is not kept awake by trying. */
const MAX_RETRY_MS = 5 * 60_000

/** Once may be a drive that was just then pulled out. */
const TRIES_TO_TELL = 2

/** Why work in the background has not succeeded since a moment. */
export interface LastingFailure {
  /** What a person is told of it; `undefined` if only the log knows. */
  readonly reason: AppError | undefined
  readonly since: Date
}

/** Work in the background that is tried until it succeeds: when to try again, and what the log hears of it, once. */
export class Retries {
  readonly #log: Log
  readonly #what: string
  readonly #backoff = new Backoff(RETRY_MS, MAX_RETRY_MS)
  #isTold = false
  #delay = RETRY_MS
  #failure: (LastingFailure & { tries: number }) | undefined

  /** `what` is being written. */
  constructor(log: Log, what: string) {
    this.#log = log
    this.#what = what
  }

  /** Milliseconds until the next try; undefined after a success. */
  get delay(): number | undefined {
    return this.#backoff.isFailing ? this.#delay : undefined
  }

  /**
   * What has kept it from succeeding more than once in a row, and is not told by those who look for drive and database.
   */
  get lasting(): LastingFailure | undefined {
    return (this.#failure?.tries ?? 0) >= TRIES_TO_TELL ? this.#failure : undefined
  }

  failed(error: unknown): void {
    const code = error instanceof AppError ? error.code : 'internal_error'
    const { waitMs, isNews } = this.#backoff.failed(code)
    this.#delay = isAway(error) || code === 'disk_full' ? RETRY_MS : waitMs
    // That is told by those who look for them, and found out without waking anybody.
    if (isAway(error)) return
    // A stop has cut it short.
    if (error instanceof Error && error.name === 'AbortError') return
    const { since = new Date(), tries = 0 } = this.#failure ?? {}
    this.#failure = { reason: error instanceof AppError ? error : undefined, since, tries: tries + 1 }
    if (isNews) this.#tell(error, code)
  }

  #tell(error: unknown, code: string): void {
    const level = error instanceof AppError ? 'warn' : 'error'
    this.#log[level]({ code, err: error }, `${this.#what} can’t be written just now; that is made up for`)
    this.#isTold = true
  }

  succeeded(): void {
    if (this.#isTold) this.#log.info(`${this.#what} is up to date again`)
    this.#isTold = false
    this.#backoff.succeeded()
    this.#failure = undefined
  }
}
