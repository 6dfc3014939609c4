/** The library's journal has a change within five seconds. */
const WRITTEN_MS = 6_000
/** While changes come all the time, the copy is brought up to date this often. */
const BUSY_MS = 60_000
/** What the library's journal does in its own time, such as a snapshot, follows within this. */
const SETTLING_MS = 10_000

/** Says when the copy of the journal has to be brought up to date; all times by the clock of `performance.now()`. */
export class JournalSchedule {
  #dueAt = 0
  /** The first change since the copy was brought up to date. */
  #since: number | undefined
  /** The last change of all. */
  #last = Number.NEGATIVE_INFINITY

  /** When it is due; infinity while nothing has changed. */
  get dueAt(): number {
    return this.#dueAt
  }

  get isDue(): boolean {
    return performance.now() >= this.#dueAt
  }

  /** Something has changed in the catalogue: the journal will say so. */
  noteChange(): void {
    const now = performance.now()
    this.#since ??= now
    this.#last = now
    this.#dueAt = Math.min(now + WRITTEN_MS, this.#since + BUSY_MS)
  }

  /**
   * The copy is being brought up to date, now. What has changed a moment ago may not be in the library's journal yet.
   */
  begin(): void {
    this.#since = undefined
    const written = this.#last + WRITTEN_MS
    this.#dueAt = written > performance.now() ? written : Number.POSITIVE_INFINITY
  }

  /** It has been; `isChanged`: there was something to do. Where something happens, more may follow. */
  end(isChanged: boolean): void {
    if (isChanged) this.#dueAt = Math.min(this.#dueAt, performance.now() + SETTLING_MS)
  }

  /** It failed. */
  retry(): void {
    this.#dueAt = performance.now() + BUSY_MS
  }

  /** It has to be done at once. */
  expire(): void {
    this.#dueAt = 0
  }
}
