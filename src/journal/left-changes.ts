import type { NoteChange } from '../archive/changes.ts'
import type { Library } from '../archive/library.ts'
import type { Database } from '../catalogue/connection.ts'
import { leaveUnwritten, takeUnwritten } from '../catalogue/unwritten.ts'
import { isMonthFolder, type LibraryPath } from '../format/layout.ts'
import { PendingChanges } from './pending.ts'

const GATHER_MS = 500
const PORTION = 1_000

/** Lets everybody in the server hear of what commands have left. */
export async function hearLeftChanges({ db, changed }: Library): Promise<void> {
  for (let rows = await takeUnwritten(db, PORTION); rows !== undefined; rows = await takeUnwritten(db, PORTION)) {
    changed({ ...rows, originals: rows.originals as LibraryPath[], sums: rows.sums.filter(isMonthFolder) })
  }
}

/** Leaves what a command changes for the server, which alone writes on the drive what the catalogue knows. */
export class LeftChanges {
  readonly #db: Database
  readonly #pending = new PendingChanges()
  #leaving: Promise<void> | undefined
  #failure: unknown

  constructor(db: Database) {
    this.#db = db
  }

  readonly note: NoteChange = (change) => {
    if (!this.#pending.add(change)) this.#failure ??= new Error('more has changed at once than could be kept in mind')
    this.#leaving ??= new Promise((resolve) => setTimeout(resolve, GATHER_MS))
      .then(() => this.#leave())
      .catch((error: unknown) => {
        this.#failure ??= error
      })
      .finally(() => {
        this.#leaving = undefined
      })
  }

  /** Resolves once all that was noted is left. Throws what the database threw. */
  async settle(): Promise<void> {
    await this.#leaving
    await this.#leave()
    if (this.#failure !== undefined) throw this.#failure
  }

  async #leave(): Promise<void> {
    for (let portion = this.#pending.take(PORTION); portion !== undefined; portion = this.#pending.take(PORTION)) {
      await leaveUnwritten(this.#db, portion)
    }
  }
}
