import type { Library } from '../archive/library.ts'
import { Committer } from '../storage/commit.ts'
import { DirectReader } from '../storage/direct-read.ts'
import type { Drive } from '../storage/drive.ts'
import { Space } from '../storage/space.ts'
import { SumsFiles } from '../storage/sums.ts'

/** A library, and the drive with its second copy. */
export interface Mirror {
  readonly library: Library
  readonly drive: Drive
  readonly space: Space
  readonly committer: Committer
  readonly sums: SumsFiles
  /** Reads copies back. */
  readonly reader: DirectReader
}

/** `minFreeSpace` (bytes) stays free on the mirror, too. */
export function createMirror(library: Library, drive: Drive, minFreeSpace: number): Mirror {
  const committer = new Committer(drive)
  const sums = new SumsFiles(drive, committer, library.now)
  return { library, drive, space: new Space(drive, minFreeSpace), committer, sums, reader: new DirectReader(drive) }
}
