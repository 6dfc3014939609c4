import { Backoff } from '../base/backoff.ts'
import type { CopyWanted } from '../catalogue/copies.ts'
import type { AppError } from '../errors.ts'
import { type MirrorTrouble, troubleOf } from './status.ts'

const MAX_KEPT = 10_000
/** How often a mirror that is full is asked whether there is room now. */
const FULL_MS = 5_000
const FIRST_RETRY_MS = 10_000
const LAST_RETRY_MS = 600_000

/** How long a mirror that fails is left alone. */
export function mirrorBackoff(): Backoff {
  return new Backoff(FIRST_RETRY_MS, LAST_RETRY_MS)
}

/** Originals that could not be copied and will be tried again, with bounded memory. */
export class Postponed {
  readonly #paths = new Map<string, AppError>()
  #isOverfull = false
  readonly #backoff = mirrorBackoff()
  /** The size of the smallest one that found no room. */
  #smallest = Number.POSITIVE_INFINITY
  #at = Number.POSITIVE_INFINITY

  /** When to ask for them again, by the clock of `performance.now()`; never, if there are none. */
  get dueAt(): number {
    return this.#at
  }

  /** Bytes that have to fit before trying again is worth while; `undefined` if it was not for want of room. */
  get needs(): number | undefined {
    return Number.isFinite(this.#smallest) ? this.#smallest : undefined
  }

  add({ path, size }: CopyWanted, reason: AppError): void {
    if (this.#paths.size < MAX_KEPT) this.#paths.set(path, reason)
    else this.#isOverfull = true
    if (reason.code === 'disk_full') this.#smallest = Math.min(this.#smallest, size ?? 0)
    if (this.#at === Number.POSITIVE_INFINITY) this.wait()
  }

  /** Puts off the next try, longer each time. */
  wait(): void {
    this.#at = performance.now() + (this.needs === undefined ? this.#backoff.failed().waitMs : FULL_MS)
  }

  /** Those that are not to be tried now; `undefined` if they are too many to be named. */
  get paths(): string[] | undefined {
    return this.#isOverfull ? undefined : [...this.#paths.keys()]
  }

  /** Has all of them tried again. */
  retry(): void {
    this.#clear()
  }

  /** Forgets them, and how often they were tried. */
  forget(): void {
    this.#backoff.succeeded()
    this.#clear()
  }

  #clear(): void {
    this.#paths.clear()
    this.#isOverfull = false
    this.#smallest = Number.POSITIVE_INFINITY
    this.#at = Number.POSITIVE_INFINITY
  }

  /** What they say about the mirror; `undefined` if there are none. */
  get trouble(): MirrorTrouble | undefined {
    const reasons = [...this.#paths.values()]
    const reason = reasons.find(({ code }) => code === 'disk_full') ?? reasons[0]
    return reason && troubleOf(reason)
  }
}
