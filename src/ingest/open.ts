import type { Database } from '../catalogue/connection.ts'
import { findLibraryId, listTopNames, rememberLibrary } from '../catalogue/library.ts'
import { hasRows } from '../catalogue/rebuild/restore.ts'
import { AppError, hasErrno } from '../errors.ts'
import { Drive } from '../storage/drive.ts'
import { driveError } from '../storage/drive-error.ts'
import { createIdentity, type LibraryFile, readLibraryFile, settleIdentity } from '../storage/identity.ts'
import { io } from '../storage/io.ts'
import { listMonthFolders, listNames } from '../storage/month-folders.ts'
import { openJournalOf } from './rebuild/restore-journal.ts'

/**
 * Returns the identity of the library that the catalogue belongs to. On the first start of all there is none: the folder's is
 * remembered if it has one, else the folder becomes a new library.
 *
 * If the catalogue is empty and the library on the drive is not, the catalogue was lost: `rebuild` is to bring it back, with the
 * library remembered. Without `rebuild`, throws `rebuild_needed`, and nothing is written anywhere.
 *
 * Throws `drive_missing` if an older server's catalogue knows photos and the folder has none of their folders, or is not there: that
 * is a drive which is not mounted, and must not be written to; and if the drive has the mirror of the catalogue's library.
 */
export async function establishIdentity(
  db: Database,
  root: string,
  now: Date,
  rebuild?: (library: LibraryFile) => Promise<void>,
): Promise<string> {
  const remembered = await findLibraryId(db)
  if (remembered !== undefined) {
    await refuseMirror(root, remembered)
    return remembered
  }
  const found = await onDrive(readLibraryFile(root))
  if (found !== undefined) {
    await onDrive(settleIdentity(root))
    if ((await hasRows(db)) || !(await holdsAnything(root, found))) return rememberLibrary(db, found.id)
    if (rebuild === undefined) throw rebuildNeeded()
    await rebuild(found)
    return found.id
  }
  const expected = await listTopNames(db)
  const names = new Set(await onDrive(listNamesAt(root)))
  if (expected.length > 0 && !expected.some((name) => names.has(name))) {
    throw new AppError(
      'drive_missing',
      'The database knows photos of an older server, but the library’s folder has none of them. Mount the drive that holds them, or correct UPLOAD_FOLDER.',
      { cause: new Error(`${root} has none of ${expected.slice(0, 10).join(', ')}`) },
    )
  }
  return rememberLibrary(db, await onDrive(createIdentity(root, now)))
}

/** The second copy under the place of the first one is either a mistake or the end of the first one: a person has to say which. */
async function refuseMirror(root: string, id: string): Promise<void> {
  const found = await readLibraryFile(root).catch((error: unknown) => {
    // A drive that is away, or can't be read, is somebody else's trouble.
    if (error instanceof AppError || hasErrno(error)) return undefined
    throw error
  })
  if (found === undefined || found.id === id || found.mirrorOf !== id) return
  throw new AppError(
    'drive_missing',
    'The drive under UPLOAD_FOLDER is the second copy of the photo library, not the library itself. Connect the drive with the library; or, if that one is lost, run `npm run iclood -- rebuild` to go on with this one in its place.',
    { cause: new Error(`${root} holds the mirror ${found.id} of the library ${id}`) },
  )
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
    'The database is empty, but the drive holds a library with photos: the database was lost, or is a new one. Run `npm run iclood -- rebuild`, and everything comes back from the drive; or set AUTO_REBUILD=true and start the server again. If this is not the right drive or database, correct UPLOAD_FOLDER or DATABASE_URL. Until then nothing is written.',
  )
}

async function onDrive<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work
  } catch (error) {
    throw driveError(error, 'its library was being set up')
  }
}

async function listNamesAt(folder: string): Promise<string[]> {
  try {
    return await io.readdir(folder)
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return []
    throw error
  }
}
