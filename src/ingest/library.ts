import type { Database } from '../catalogue/connection.ts'
import { namesIn } from '../catalogue/files.ts'
import { createLookUp } from '../catalogue/look-up.ts'
import { createRecord } from '../catalogue/record.ts'
import { Committer } from '../storage/commit.ts'
import type { Drive } from '../storage/drive.ts'
import { FolderNames } from '../storage/folder-names.ts'
import { type DiskUsage, diskUsage, Space } from '../storage/space.ts'
import type { NoteChange } from './changes.ts'
import { KeyedLock } from './keyed-lock.ts'

/** Everything that the story of an upload needs: the drive and the catalogue that belong together, and their locks. */
export interface Library {
  readonly db: Database
  readonly drive: Drive
  readonly space: Space
  readonly committer: Committer
  readonly names: FolderNames
  readonly lookUp: ReturnType<typeof createLookUp>
  readonly record: ReturnType<typeof createRecord>
  /** Taken in this order, so that no two uploads wait for each other. */
  readonly locks: { readonly content: KeyedLock; readonly asset: KeyedLock; readonly folder: KeyedLock }
  /** Stands in for what originals do not say about where they were taken. */
  readonly timeZone: string
  /** The present. */
  readonly now: () => Date
  /** Hears of every change that is made to the catalogue. */
  readonly changed: NoteChange
}

export function createLibrary(
  db: Database,
  drive: Drive,
  options: { minFreeSpace: number; timeZone: string; now: () => Date; changed: NoteChange },
): Library {
  return {
    db,
    drive,
    space: new Space(drive, options.minFreeSpace),
    committer: new Committer(drive),
    names: new FolderNames(drive, (folder) => namesIn(db, folder)),
    lookUp: createLookUp(db),
    record: createRecord(db),
    locks: { content: new KeyedLock(), asset: new KeyedLock(), folder: new KeyedLock() },
    timeZone: options.timeZone,
    now: options.now,
    changed: options.changed,
  }
}

/** Forgets what was learnt about the drive's folders; call it when the drive has come back. */
export function forgetFolders(library: Library): void {
  library.committer.forget()
  library.names.forget()
}

/** How full the library's drive is. Throws `drive_missing` or `drive_error`. */
export async function driveUsage({ drive }: Library): Promise<DiskUsage> {
  await drive.check()
  return diskUsage(drive)
}
