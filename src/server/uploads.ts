/** Uploads under way, and how long it has been quiet since the last one. */
export class Uploads extends Set<object> {
  #endedAt = Number.NEGATIVE_INFINITY

  override delete(upload: object): boolean {
    this.#endedAt = performance.now()
    return super.delete(upload)
  }

  /** Whether one is under way, or has been within the last `ms`: phones send one after the other. */
  isBusy(ms: number): boolean {
    return this.size > 0 || performance.now() - this.#endedAt < ms
  }
}
