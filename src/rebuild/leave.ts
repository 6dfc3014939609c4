import { acquireProcessLock } from '../base/process-lock.ts'
import type { Database } from '../catalogue/connection.ts'
import { leaveLibrary } from '../catalogue/rebuild/move.ts'
import { AppError } from '../errors.ts'

/**
 * Lets a library without photos be, so that the catalogue may belong to another one. Throws `drive_missing` if a server
 * is working with it: it may be told of a photo at any moment.
 */
export async function leave(db: Database, id: string): Promise<void> {
  const lock = await acquireProcessLock(id)
  try {
    if (lock !== undefined && (await leaveLibrary(db, id))) return
  } finally {
    await lock?.release()
  }
  throw new AppError(
    'drive_missing',
    'The database belongs to another library, with which a server is working at this moment. ' +
      'Stop that one first, or give this one a database of its own (DATA_DIR, DATABASE_URL).',
    { cause: new Error(`the database belongs to the library ${id}`) },
  )
}
