import type { Database } from '../catalogue/connection.ts'
import { findLibraryId, listTopNames, rememberLibrary } from '../catalogue/library.ts'
import { AppError, hasErrno } from '../errors.ts'
import { driveError } from '../storage/drive-error.ts'
import { createIdentity, readIdentity } from '../storage/identity.ts'
import { io } from '../storage/io.ts'

/**
 * Returns the identity of the library that the catalogue belongs to. On the first start of all there is none: the folder's is
 * remembered if it has one, else the folder becomes a new library.
 *
 * Throws `drive_missing` if an older server's catalogue knows photos and the folder has none of their folders, or is not there: that
 * is a drive which is not mounted, and must not be written to.
 */
export async function establishIdentity(db: Database, root: string, now: Date): Promise<string> {
  const remembered = await findLibraryId(db)
  if (remembered !== undefined) return remembered
  const found = await onDrive(readIdentity(root))
  if (found !== undefined) return rememberLibrary(db, found)
  const expected = await listTopNames(db)
  const names = new Set(await onDrive(listNames(root)))
  if (expected.length > 0 && !expected.some((name) => names.has(name))) {
    throw new AppError(
      'drive_missing',
      'The database knows photos of an older server, but the library’s folder has none of them. Mount the drive that holds them, or correct UPLOAD_FOLDER.',
      { cause: new Error(`${root} has none of ${expected.slice(0, 10).join(', ')}`) },
    )
  }
  return rememberLibrary(db, await onDrive(createIdentity(root, now)))
}

async function onDrive<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work
  } catch (error) {
    throw driveError(error, 'its library was being set up')
  }
}

async function listNames(folder: string): Promise<string[]> {
  try {
    return await io.readdir(folder)
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return []
    throw error
  }
}
