import type { Database } from '../catalogue/connection.ts'
import { type Backlog, sumUncopied } from '../catalogue/copies.ts'
import { isAllWritten } from '../catalogue/outbox.ts'

/** A count that takes longer is one of a large library, and not made whenever somebody asks. */
const CHEAP_MS = 100
/** Of the time, this part at most is spent on counting a large library. */
const SHARE = 1 / 20
/** It is counted again after this when nobody has told of a change, and a large one after this. */
const FRESH_MS = 60_000
const LARGE_FRESH_MS = 3_600_000

/**
 * Knows how much the mirror does not have yet; counts only when something may have changed, and while much is missing
 * so seldom that it costs little.
 */
export class BacklogCount {
  readonly #db: Database
  readonly #now: () => Date
  #last: { sum: Backlog; at: number; cost: number } | undefined
  #isStale = true

  constructor(db: Database, now: () => Date) {
    this.#db = db
    this.#now = now
  }

  /** Something has changed. */
  expire(): void {
    this.#isStale = true
  }

  /** Throws `database_unavailable`. */
  async get(): Promise<Backlog> {
    const begun = performance.now()
    // What has just changed is not heard of before the journal's keeper looks.
    this.#isStale ||= !(await isAllWritten(this.#db))
    if (this.#last !== undefined) {
      const { sum, at, cost } = this.#last
      const age = begun - at
      const isLarge = cost > CHEAP_MS
      const isFresh = !this.#isStale && age < (isLarge ? LARGE_FRESH_MS : FRESH_MS)
      // That nothing is missing is told only when it is known: of a photo that has just come it would not be true.
      const isBounded = isLarge && sum.files > 0 && age * SHARE < cost
      if (isFresh || isBounded) return sum
    }
    this.#isStale = false
    const sum = await sumUncopied(this.#db, this.#now())
    const at = performance.now()
    this.#last = { sum, at, cost: at - begun }
    return sum
  }
}
