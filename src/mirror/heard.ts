/** Paths heard of that are kept: beyond them a comparison of the folders finds what should not lie there any more. */
const MAX_HEARD = 10_000

/** What has changed in the catalogue, as far as it was told and not looked at yet. */
export class Heard {
  readonly #paths = new Set<string>()
  /** Those that were taken last. */
  #atHand: ReadonlySet<string> = new Set()
  #isThere = false

  /** Whether there is any. */
  get isThere(): boolean {
    return this.#isThere
  }

  /** Takes note of originals that are new, changed or gone. */
  hear(paths: Iterable<string>): void {
    this.#isThere = true
    for (const path of paths) this.#paths.add(path)
    if (this.#paths.size > MAX_HEARD) this.#paths.clear()
  }

  /** Whether `path` was heard of and not taken, or taken last. */
  has(path: string): boolean {
    return this.#paths.has(path) || this.#atHand.has(path)
  }

  /** Returns the paths heard of, and forgets them. */
  take(): string[] {
    const paths = [...this.#paths]
    this.#atHand = new Set(paths)
    this.#paths.clear()
    this.#isThere = false
    return paths
  }
}
