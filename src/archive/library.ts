/*
 * archive/: What everybody holds: the drive and the catalogue that belong together, their locks, and what may be asked
 * of them.
 */

import { KeyedLock } from '../base/keyed-lock.ts'
import type { Database } from '../catalogue/connection.ts'
import { listFolder } from '../catalogue/folders.ts'
import { createLookUp } from '../catalogue/look-up.ts'
import { createRecord } from '../catalogue/record.ts'
import type { LibraryPath } from '../format/layout.ts'
import type { Checksum } from '../media/checksum.ts'
import { Committer } from '../storage/commit.ts'
import { DirectReader } from '../storage/direct-read.ts'
import type { Drive } from '../storage/drive.ts'
import { FolderNames } from '../storage/folder-names.ts'
import { type Hasher, hashHere } from '../storage/hashing/hasher.ts'
import { type DiskUsage, diskUsage, Space } from '../storage/space.ts'
import type { Staged } from '../storage/staging.ts'
import { ExifTool } from './exiftool.ts'
import type { Source } from './source.ts'
import { Unrecorded } from './unrecorded.ts'

/** Everything that the story of an upload needs: the drive and the catalogue that belong together, and their locks. */
export interface Library {
  readonly db: Database
  readonly drive: Drive
  readonly space: Space
  /** Hashes what is staged. */
  readonly hasher: Hasher
  readonly committer: Committer
  readonly names: FolderNames
  /** Reads originals back. */
  readonly reader: DirectReader
  readonly lookUp: ReturnType<typeof createLookUp>
  readonly record: ReturnType<typeof createRecord>
  /** What this server has put on the drive and may not be in the catalogue. */
  readonly unrecorded: Unrecorded
  /** Where the content of lost originals may be found, beside the drive itself. */
  readonly sources: Source[]
  /**
   * Taken in this order, so that no two uploads wait for each other. `loss` (its only key is `''`) lets one original at
   * a time be declared lost or restored: each of them keeps a connection to the database while it waits for the drive.
   */
  readonly locks: {
    readonly content: KeyedLock
    readonly asset: KeyedLock
    readonly folder: KeyedLock
    readonly loss: KeyedLock
    /** Of those who read what was never read, one at a time. */
    readonly reading: KeyedLock
  }
  /** Knows dates that we can't read, if it is installed. */
  readonly exifTool: ExifTool
  /** Stands in for what originals do not say about where they were taken. */
  readonly timeZone: string
  readonly lostAndUnread: LostAndUnread
  /** The present. */
  readonly now: () => Date
  /**
   * Has the journal and SHA256SUMS say what the catalogue knows at the call, as far as they can be written, and calls
   * `look` while nobody writes them: `isDescribed` says whether they do. Where nobody keeps them (a command), they do
   * if they were complete when the library was opened.
   */
  readonly describe: <Result>(look: (isDescribed: boolean) => Promise<Result>) => Promise<Result>
  /**
   * Has originals read back soon: those so marked in the catalogue, and those stored around a time of trouble with the
   * drive.
   */
  readonly readSoon: (around?: Date) => void
}

/**
 * The one door from uploads to verification. An upload may need the place of an original that is lost, or meet one that
 * an older server left and nobody has read. What verification finds then has the consequences that it always has.
 */
export interface LostAndUnread {
  /**
   * Whether the original at `path` is intact and has this checksum; its bytes are read to tell. `false` if the drive
   * could not read them.
   */
  hasContent(library: Library, path: LibraryPath, checksum: Checksum): Promise<boolean>
  /**
   * Gives the bytes of an upload from `sentFrom` the place of an original with the same content that is lost, or seems
   * to be: `restored`. What lies there is read first: it may be intact after all (`found`); if it is not, it goes to
   * quarantine. Returns `taken` if the drive does not let go of the place, `changed` if something else has changed
   * what is there meanwhile.
   */
  takePlace(
    library: Library,
    staged: Staged,
    path: LibraryPath,
    sentFrom: string,
  ): Promise<'found' | 'restored' | 'taken' | 'changed'>
}

export function createLibrary(
  db: Database,
  drive: Drive,
  options: {
    minFreeSpace: number
    timeZone: string
    now: () => Date
    describe?: Library['describe']
    lostAndUnread: LostAndUnread
    /** The catalogue over connections for uploads alone; left out: `db`. */
    uploads?: Database
    hasher?: Hasher
    readSoon?: Library['readSoon']
  },
): Library {
  const unrecorded = new Unrecorded()
  return {
    db,
    drive,
    space: new Space(drive, options.minFreeSpace),
    hasher: options.hasher ?? hashHere,
    committer: new Committer(drive),
    // What is on its way into the catalogue is no stranger: asked for first, so that it is in one of the two.
    names: new FolderNames(drive, async (folder) => [
      ...unrecorded.namesIn(folder),
      ...(await listFolder(db, folder)).map(({ name }) => name),
    ]),
    reader: new DirectReader(drive),
    lookUp: createLookUp(options.uploads ?? db),
    record: createRecord(options.uploads ?? db),
    unrecorded,
    sources: [],
    locks: {
      content: new KeyedLock(),
      asset: new KeyedLock(),
      folder: new KeyedLock(),
      loss: new KeyedLock(),
      reading: new KeyedLock(),
    },
    exifTool: new ExifTool(),
    timeZone: options.timeZone,
    lostAndUnread: options.lostAndUnread,
    now: options.now,
    describe: options.describe ?? ((look) => look(false)),
    readSoon: options.readSoon ?? (() => {}),
  }
}

/**
 * The same library with a reader of its own: for those in the background who may be held up for as long as uploads go
 * on, and must not keep the memory that others read into.
 */
export function withOwnReader(library: Library): Library {
  return { ...library, reader: new DirectReader(library.drive) }
}

/** Forgets what was learnt about the drive's folders; call it when the drive has come back. */
export function forgetFolders(library: Library): void {
  library.committer.forget()
  library.names.forget()
  library.reader.forget()
}

/** How full the library's drive is. Throws `drive_missing` or `drive_error`. */
export async function driveUsage({ drive }: Library): Promise<DiskUsage> {
  await drive.check()
  return diskUsage(drive)
}
