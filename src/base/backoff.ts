/** How long until the next try of what fails, and whether that is told of. A new reason begins anew. */
export class Backoff {
  readonly #firstMs: number
  readonly #longestMs: number
  #failures = 0
  #reason: string | undefined

  /** Twice as long after each failure for one reason in a row, from `firstMs` up to `longestMs`. */
  constructor(firstMs: number, longestMs = firstMs) {
    this.#firstMs = firstMs
    this.#longestMs = longestMs
  }

  get isFailing(): boolean {
    return this.#reason !== undefined
  }

  /** Notes a failure. Returns how many ms to wait, and whether the one before was for another reason, or none. */
  failed(reason = ''): { waitMs: number; isNews: boolean } {
    const isNews = reason !== this.#reason
    this.#reason = reason
    if (isNews) this.#failures = 0
    return { waitMs: Math.min(this.#firstMs * 2 ** this.#failures++, this.#longestMs), isNews }
  }

  /** Returns whether it has failed before. */
  succeeded(): boolean {
    const hasFailed = this.isFailing
    this.#reason = undefined
    this.#failures = 0
    return hasFailed
  }
}
