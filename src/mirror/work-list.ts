import type { Database } from '../catalogue/connection.ts'
import { type CopyWanted, listUncopied, sortWanted } from '../catalogue/copies.ts'

/** Originals looked at in one query of a pass, and kept in memory at most. */
const PORTION = 2_000
/** Paths heard of that are kept; beyond them a pass finds them. */
const MAX_HEARD = 10_000
/** What is copied before it is recorded: little is done twice after a kill. */
const BATCH_FILES = 20

/** The next originals to copy, and paths which the catalogue does not have any more. */
export interface Batch {
  wanted: CopyWanted[]
  gone: string[]
}

/**
 * What the mirror does not have yet, with bounded memory: what has just changed first, then whatever a pass over the
 * catalogue finds, in the order of paths.
 */
export class WorkList {
  readonly #db: Database
  readonly #heard = new Set<string>()
  /** How far the pass has come (`undefined` when it is over) and what it has found. */
  #pass: { cursor: string | undefined; found: string[] } = { cursor: undefined, found: [] }

  constructor(db: Database) {
    this.#db = db
  }

  /** Whether something has changed that was not looked at yet. */
  get hasNews(): boolean {
    return this.#heard.size > 0
  }

  /** Takes note of paths that may need a copy, or need none any more. */
  hear(paths: Iterable<string>): void {
    for (const path of paths) this.#heard.add(path)
    if (this.#heard.size <= MAX_HEARD) return
    this.#heard.clear()
    this.lookThrough()
  }

  /** Begins a pass over all originals. */
  lookThrough(): void {
    this.#pass = { cursor: '', found: [] }
  }

  /**
   * Returns what comes next; `undefined` when nothing is left. What was returned does not come again unless it is heard
   * of.
   */
  async next(): Promise<Batch | undefined> {
    for (;;) {
      const paths = await this.#take()
      if (paths === undefined) return undefined
      try {
        const batch = await sortWanted(this.#db, paths)
        if (batch.wanted.length + batch.gone.length > 0) return batch
      } catch (error) {
        this.hear(paths)
        throw error
      }
    }
  }

  /** Takes some paths off the list before they are looked up: what changes from now on is heard of again. */
  async #take(): Promise<string[] | undefined> {
    if (this.#heard.size > 0) {
      const paths = [...take(this.#heard, BATCH_FILES)]
      for (const path of paths) this.#heard.delete(path)
      return paths
    }
    const pass = this.#pass
    while (pass.found.length === 0) {
      if (pass.cursor === undefined) return this.#pass === pass ? undefined : this.#take()
      const { paths, last } = await listUncopied(this.#db, pass.cursor, PORTION)
      pass.found = paths
      pass.cursor = last ?? undefined
    }
    return pass.found.splice(0, BATCH_FILES)
  }
}

function* take<Item>(items: Iterable<Item>, count: number): Generator<Item> {
  let left = count
  for (const item of items) {
    if (left-- === 0) return
    yield item
  }
}
