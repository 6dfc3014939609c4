import type { Library } from '../archive/library.ts'
import { KeyedLock } from '../base/keyed-lock.ts'
import type { PlaceId } from '../catalogue/places.ts'
import { Committer } from '../storage/commit.ts'
import { DirectReader } from '../storage/direct-read.ts'
import type { Drive } from '../storage/drive.ts'
import { Space } from '../storage/space.ts'
import { SumsFiles } from '../storage/sums.ts'

/** A library, and the drive with a copy of it. */
export interface Mirror {
  readonly library: Library
  /** Which place the catalogue knows it as. */
  readonly place: PlaceId
  readonly drive: Drive
  readonly space: Space
  readonly committer: Committer
  readonly sums: SumsFiles
  /** Reads copies back. */
  readonly reader: DirectReader
  /** Taken (its only key is `''`) while files and SHA256SUMS there, and the catalogue's word of them, disagree. */
  readonly turn: KeyedLock
  /** Whether what lies at a path there is about to be looked after. */
  readonly isAwaited: (path: string) => boolean
}

/** `minFreeSpace` (bytes) stays free on the mirror, too. */
export function createMirror(
  library: Library,
  place: PlaceId,
  drive: Drive,
  minFreeSpace: number,
  isAwaited: Mirror['isAwaited'] = () => false,
): Mirror {
  const committer = new Committer(drive)
  return {
    library,
    place,
    drive,
    space: new Space(drive, minFreeSpace),
    committer,
    sums: new SumsFiles(drive, committer, library.now),
    reader: new DirectReader(drive),
    turn: new KeyedLock(),
    isAwaited,
  }
}
