import type { LibraryPath } from '../format/layout.ts'
import type { Checksum } from '../media/checksum.ts'
import type { Drive } from '../storage/drive.ts'

/** A lost original whose content is known. */
export interface Lost {
  path: LibraryPath
  checksum: Checksum
  /** Bytes; null if that is not known. */
  size: number | null
}

/** A file that may hold the content of a lost original; it is believed only when it has been read. */
export interface Candidate {
  drive: Drive
  /** Relative to that drive's library; not always in a place of originals. */
  path: string
  /** Goes on after "healed by". */
  name: string
}

/** Finds files that may hold the content of a lost original, best first. What it throws ends the healing. */
export type Source = (lost: Lost) => Promise<readonly Candidate[]>
