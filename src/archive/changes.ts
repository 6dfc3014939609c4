import { AppError } from '../errors.ts'
import type { LibraryPath, MonthFolder } from '../format/layout.ts'

/**
 * Rows of the catalogue that have just been added, changed or removed, in a transaction that is over; and what was
 * found on a drive not to agree with them.
 */
export interface Change {
  /** Ids in `backups`. */
  readonly backups?: readonly number[]
  /** Paths in `files` that are new, or whose facts have changed. */
  readonly originals?: readonly LibraryPath[]
  /** Ids in `ignored_files`. */
  readonly ignored?: readonly number[]
  /** Month folders whose SHA256SUMS was read and found wrong, in the library or on the second copy. */
  readonly sums?: readonly MonthFolder[]
  /** The database went away in the middle of a change: which rows it concerns, if it was made at all, is not known. */
  readonly unsure?: true
}

/** Takes note of a change and returns at once; never throws. */
export type NoteChange = (change: Change) => void

/** Returns what `change` does. If the database goes away in the middle of it, that is noted before it throws. */
export async function noteIfUnsure<Result>(changed: NoteChange, change: Promise<Result>): Promise<Result> {
  try {
    return await change
  } catch (error) {
    if (error instanceof AppError && error.code === 'database_unavailable') changed({ unsure: true })
    throw error
  }
}
