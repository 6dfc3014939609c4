import { MIN_RATE, RATE_MS } from '../../base/budgets.ts'

/** Whether a client goes on fast enough with what it sends, or takes, for what it holds meanwhile. Times are in ms. */
export class Rate {
  #since: number
  #bytes = 0

  constructor(now: number) {
    this.#since = now
  }

  /** `bytes` have gone on; returns false if they and those before, over some minutes, are too few. */
  isEnough(bytes: number, now: number): boolean {
    this.#bytes += bytes
    const elapsed = now - this.#since
    if (elapsed < RATE_MS) return true
    const isEnough = this.#bytes >= (MIN_RATE * elapsed) / 1000
    this.#since = now
    this.#bytes = 0
    return isEnough
  }

  /** For so long the client could not go on. */
  excuse(ms: number): void {
    this.#since += ms
  }
}
