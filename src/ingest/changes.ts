import type { LibraryPath } from '../storage/layout.ts'

/** Rows of the catalogue that have just been added, changed or removed, in a transaction that is over. */
export interface Change {
  /** Ids in `backups`. */
  readonly backups?: readonly number[]
  /** Paths in `files` that are new, or whose facts have changed. */
  readonly originals?: readonly LibraryPath[]
  /** Ids in `ignored_files`. */
  readonly ignored?: readonly number[]
}

/** Takes note of a change and returns at once; never throws. */
export type NoteChange = (change: Change) => void
