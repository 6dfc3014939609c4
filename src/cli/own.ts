import { lockLibrary } from '../archive/folder-locks.ts'
import { createLibrary, type Library } from '../archive/library.ts'
import type { ProcessLock } from '../base/process-lock.ts'
import { type ConnectionSettings, type Database, openDatabase } from '../catalogue/connection.ts'
import { expectUtf8 } from '../catalogue/encoding.ts'
import { findLibraryId, findWhereabouts } from '../catalogue/library.ts'
import { isAllSummed } from '../catalogue/outbox.ts'
import { hasRows } from '../catalogue/rebuild/restore.ts'
import type { Config } from '../config/config.ts'
import type { Owner } from '../control/owner.ts'
import { AppError } from '../errors.ts'
import { assess } from '../health/assess.ts'
import { migrate } from '../migrations/migrate.ts'
import { createMirror } from '../mirror/mirror.ts'
import { mirrorSource } from '../mirror/source.ts'
import { mirrorStatuses, openMirrorDrive, thoseThere } from '../mirror/status.ts'
import { startEmbeddedServer } from '../postgres/server.ts'
import { DataDirSpace } from '../postgres/space.ts'
import { Drive } from '../storage/drive.ts'
import { libraryDrive } from '../storage/drive-role.ts'
import { readIdentity } from '../storage/identity.ts'
import { lostAndUnread } from '../verify/lost-and-unread.ts'
import type { Session } from './context.ts'

/**
 * Opens everything for a command, which has the lock of DATA_DIR, and closes it again, whatever `use` does. Throws
 * `database_unavailable`.
 */
export async function asOwner<Result>(session: Session, use: (owner: Owner) => Promise<Result>): Promise<Result> {
  const { config, log, signal } = session
  const embedded =
    config.databaseUrl === undefined ? await startEmbeddedServer({ dataDir: config.dataDir, log, signal }) : undefined
  try {
    const settings: ConnectionSettings = embedded?.connection ?? { connectionString: config.databaseUrl ?? '' }
    const onLost = (error: Error) => log.debug({ err: error }, 'a connection to the database broke')
    const db = openDatabase(settings, onLost, { statementMs: 0 })
    const locks: ProcessLock[] = []
    try {
      await expectUtf8(db, settings)
      await migrate(db)
      return await use(ownerOf(config, db, locks))
    } finally {
      for (const lock of locks) await lock.release()
      await db.destroy()
    }
  } finally {
    await embedded?.stop()
  }
}

function ownerOf(config: Config, db: Database, locks: ProcessLock[]): Owner {
  const { libraryFolder, mirrorFolders, minFreeSpace } = config
  let opened: Library | undefined
  const driveAt = (id: string, role = libraryDrive()) =>
    new Drive(libraryFolder, id, { onMissing: () => {}, onReturned: () => {} }, role)
  const libraryOn = async (drive: Drive) => {
    // Nobody writes it down here: what was not is nothing that was found.
    const describe: Library['describe'] = async (look) => look(await isAllSummed(db))
    return createLibrary(db, drive, { ...config, lostAndUnread, now: () => new Date(), describe })
  }
  const hold = async (folder: string, id: string, what: string) => {
    const lock = await lockLibrary(folder, id)
    if (lock === undefined) {
      throw new AppError(
        'busy',
        `An iClood server with another DATA_DIR is using ${what}. Use its DATA_DIR, or stop it.`,
      )
    }
    locks.push(lock)
  }
  return {
    config,
    db,
    isBusy: () => false,
    oneAtATime: (pass) => pass(),
    trouble: () => {},
    library: async () => {
      const id = await findLibraryId(db)
      if (id === undefined) throw noLibrary()
      const drive = driveAt(id, libraryDrive(await findWhereabouts(db)))
      await drive.check()
      await hold(libraryFolder, id, `the library in ${libraryFolder}`)
      return libraryOn(drive)
    },
    mirrors: (library, onAway) =>
      thoseThere(mirrorFolders, onAway, async (folder) => {
        const { place, drive } = await openMirrorDrive(library, folder, mirrorFolders)
        await hold(folder, drive.id, `the second copy in ${folder}`)
        library.sources.push(mirrorSource(library, async () => ({ place, drive })))
        return createMirror(library, place, drive, minFreeSpace)
      }),
    mirrorStatuses: (library) => mirrorStatuses(library, config),
    health: async () => {
      const library = await openAnyway(config, db, driveAt, libraryOn)
      return assess({
        db,
        library: () => {
          if (library instanceof AppError) throw library
          return library
        },
        mirrors: (found) => mirrorStatuses(found, config),
        journal: () => undefined,
        dataDir: async () => (config.databaseUrl === undefined ? new DataDirSpace(config.dataDir).usage() : undefined),
        rules: config,
        now: () => new Date(),
      })
    },
    restoring: async (work) => {
      const id = await readIdentity(libraryFolder)
      if (id !== undefined) await hold(libraryFolder, id, `the library in ${libraryFolder}`)
      return work(async (known) => {
        opened = await libraryOn(driveAt(known))
        return opened
      })
    },
    restored: async () => {
      if (opened === undefined) throw noLibrary()
      return opened
    },
  }
}

function noLibrary(): AppError {
  return new AppError(
    'rebuild_needed',
    'The database does not know a library yet. Start the server once; if the drive holds one already, run `npm run iclood -- rebuild`.',
  )
}

/** The library that the catalogue belongs to, whether its drive is there or not. */
async function openAnyway(
  { libraryFolder }: Config,
  db: Database,
  driveAt: (id: string, role: ReturnType<typeof libraryDrive>) => Drive,
  libraryOn: (drive: Drive) => Promise<Library>,
): Promise<Library | AppError> {
  const id = await findLibraryId(db)
  if (id === undefined) return noLibrary()
  const drive = driveAt(id, libraryDrive(await findWhereabouts(db)))
  if (!(await hasRows(db)) && (await isMissing(drive))) {
    return new AppError(
      'rebuild_needed',
      'No photo has been backed up yet, and the server has not taken the folder that UPLOAD_FOLDER names yet. Start it; if it is running, its log says what it waits for.',
      { detail: `UPLOAD_FOLDER is ${libraryFolder}.` },
    )
  }
  return libraryOn(drive)
}

async function isMissing(drive: Drive): Promise<boolean> {
  try {
    await drive.check()
    return false
  } catch (error) {
    if (error instanceof AppError) return error.code === 'drive_missing'
    throw error
  }
}
