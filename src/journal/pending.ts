import type { Change } from '../archive/changes.ts'
import type { LibraryPath, MonthFolder } from '../format/layout.ts'

/** Some 20 MB; a drive that is away for long is better told everything at once. */
const MAX_PENDING = 200_000

/** A part of what is pending. */
export type Portion = Required<Omit<Change, 'unsure'>>

/** What has changed since it was written down, each row and folder once. */
export class PendingChanges {
  readonly #backups = new Set<number>()
  readonly #originals = new Set<LibraryPath>()
  readonly #ignored = new Set<number>()
  readonly #sums = new Set<MonthFolder>()

  /** How many there are. */
  get size(): number {
    return this.#backups.size + this.#originals.size + this.#ignored.size + this.#sums.size
  }

  /** Returns `false` if there are too many now: all of them are forgotten. */
  add({ backups = [], originals = [], ignored = [], sums = [] }: Change): boolean {
    for (const id of backups) this.#backups.add(id)
    for (const path of originals) this.#originals.add(path)
    for (const id of ignored) this.#ignored.add(id)
    for (const folder of sums) this.#sums.add(folder)
    if (this.size <= MAX_PENDING) return true
    this.take(this.size)
    return false
  }

  /** Takes out up to `count`; `undefined` if there are none. */
  take(count: number): Portion | undefined {
    if (this.size === 0) return undefined
    const backups = takeFrom(this.#backups, count)
    const originals = takeFrom(this.#originals, count - backups.length)
    const ignored = takeFrom(this.#ignored, count - backups.length - originals.length)
    const sums = takeFrom(this.#sums, count - backups.length - originals.length - ignored.length)
    return { backups, originals, ignored, sums }
  }
}

function takeFrom<Item>(set: Set<Item>, count: number): Item[] {
  const taken: Item[] = []
  for (const item of set) {
    if (taken.length >= count) break
    taken.push(item)
    set.delete(item)
  }
  return taken
}
