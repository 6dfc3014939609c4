import type { Database } from '../catalogue/connection.ts'
import { findLibraryId, findWhereabouts, listTopNames, rememberLibrary } from '../catalogue/library.ts'
import { hasRows } from '../catalogue/rebuild/restore.ts'
import { AppError, hasErrno } from '../errors.ts'
import { Drive } from '../storage/drive.ts'
import { driveError } from '../storage/drive-error.ts'
import { libraryDrive, refuseUnmounted, secondCopyInPlace } from '../storage/drive-role.ts'
import { Root } from '../storage/entry.ts'
import { createIdentity, type LibraryFile, readLibraryFile, settleIdentity } from '../storage/identity.ts'
import { io } from '../storage/io.ts'
import { listMonthFolders, listNames } from '../storage/month-folders.ts'
import { leave } from './leave.ts'
import { openJournalOf } from './restore-journal.ts'

/**
 * Returns the identity of the library that the catalogue belongs to. A catalogue that was never told of a photo takes
 * whatever folder it is given, also after it has belonged to another one: the folder's library if it has one, else the
 * folder becomes a new library.
 *
 * If the catalogue knows nothing and the library on the drive does, the catalogue was lost or is a new one: `rebuild`
 * is to bring it back, with the library remembered. Without `rebuild`, throws `rebuild_needed`, and nothing is written
 * anywhere.
 *
 * Throws `drive_missing` where writing would be wrong: the folder lies in the place of a drive that is not mounted; an
 * older server's catalogue knows photos and the folder has none of their folders, or is not there; the drive has the
 * mirror of the catalogue's library. Whether a catalogue that knows photos has its drive is not asked here.
 */
export async function establishIdentity(
  db: Database,
  root: string,
  now: Date,
  rebuild?: (library: LibraryFile) => Promise<void>,
): Promise<string> {
  const remembered = await findLibraryId(db)
  if (remembered !== undefined && (await hasRows(db))) {
    await refuseMirror(root, remembered)
    return remembered
  }
  const found = await onDrive(readLibraryFile(root))
  if (remembered !== undefined) {
    if (found?.id === remembered) return remembered
    if (found?.mirrorOf === remembered) throw secondCopyInPlace(root, found, remembered)
  }
  if (found !== undefined) return takeLibrary(db, root, found, remembered, rebuild)
  await onDrive(refuseUnmounted(libraryDrive(await findWhereabouts(db)), root))
  await refuseWithoutOldPhotos(db, root)
  const id = await onDrive(createIdentity(root, now))
  if (remembered !== undefined) await leave(db, remembered)
  return rememberLibrary(db, id)
}

/**
 * Makes the catalogue that of the library `found`; `remembered`, if any, is one without photos that it has belonged to.
 */
async function takeLibrary(
  db: Database,
  root: string,
  found: LibraryFile,
  remembered: string | undefined,
  rebuild: ((library: LibraryFile) => Promise<void>) | undefined,
): Promise<string> {
  await onDrive(settleIdentity(root))
  const isLost = !(await hasRows(db)) && (await holdsAnything(root, found))
  if (isLost && rebuild === undefined) throw rebuildNeeded()
  if (remembered !== undefined) await leave(db, remembered)
  if (!isLost) return rememberLibrary(db, found.id)
  await rebuild?.(found)
  return found.id
}

/** A household of an older server has photos, but no library yet: its folder is one that has them. */
async function refuseWithoutOldPhotos(db: Database, root: string): Promise<void> {
  const expected = await listTopNames(db)
  const names = await onDrive(listNamesAt(root))
  if (expected.length === 0 || expected.some((name) => names?.includes(name))) return
  const found = names === undefined ? 'does not exist' : names.length === 0 ? 'is empty' : 'has none of them'
  throw new AppError(
    'drive_missing',
    `The database knows photos of an older server, but the folder that UPLOAD_FOLDER names ${found}. ` +
      'Mount the drive that holds them, or correct UPLOAD_FOLDER.',
    {
      detail: `UPLOAD_FOLDER is ${root}; it should hold ${expected.slice(0, 10).join(', ')}.`,
      cause: new Error(`${root} has none of ${expected.slice(0, 10).join(', ')}`),
    },
  )
}

/**
 * The second copy under the place of the first one is either a mistake or the end of the first one: a person has to say
 * which.
 */
async function refuseMirror(root: string, id: string): Promise<void> {
  const found = await readLibraryFile(root).catch((error: unknown) => {
    // A drive that is away, or can't be read, is somebody else's trouble.
    if (error instanceof AppError || hasErrno(error)) return undefined
    throw error
  })
  if (found !== undefined && found.id !== id && found.mirrorOf === id) throw secondCopyInPlace(root, found, id)
}

/** Whether the journal, or the photos themselves, know anything that a catalogue could be rebuilt from. */
async function holdsAnything(root: string, library: LibraryFile): Promise<boolean> {
  const journal = await openJournalOf(root, library)
  if (journal !== undefined) {
    for await (const _ of journal.records) return true
    if (journal.damaged() > 0) return true
  }
  const drive = new Drive(root, library.id, { onMissing: () => {}, onReturned: () => {} })
  for (const folder of await listMonthFolders(drive)) {
    if ((await listNames(drive, folder)).length > 0) return true
  }
  return false
}

function rebuildNeeded(): AppError {
  return new AppError(
    'rebuild_needed',
    'The database is empty, but the drive holds a library with photos: the database was lost, or is a new ' +
      'one. Run `npm run iclood -- rebuild`, and everything comes back from the drive; or set ' +
      'AUTO_REBUILD=true and start the server again. If this is not the right drive or database, correct ' +
      'UPLOAD_FOLDER or DATABASE_URL. Until then nothing is written.',
  )
}

async function onDrive<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work
  } catch (error) {
    throw driveError(error, 'its library was being set up')
  }
}

async function listNamesAt(folder: string): Promise<string[] | undefined> {
  try {
    return await io.list(new Root(folder).at(''))
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined
    throw error
  }
}
