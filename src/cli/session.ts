import type { Logger } from 'pino'
import { lockFolder } from '../archive/folder-locks.ts'
import { createLibrary, type Library } from '../archive/library.ts'
import { makeFolders } from '../base/make-folders.ts'
import { keepLocksIn, type ProcessLock } from '../base/process-lock.ts'
import { type ConnectionSettings, type Database, openDatabase } from '../catalogue/connection.ts'
import { expectUtf8 } from '../catalogue/encoding.ts'
import { findLibraryId, findWhereabouts } from '../catalogue/library.ts'
import type { Config } from '../config/config.ts'
import { AppError } from '../errors.ts'
import { migrate } from '../migrations/migrate.ts'
import { connectionToRunning, startEmbeddedServer } from '../postgres/server.ts'
import { Drive } from '../storage/drive.ts'
import { libraryDrive } from '../storage/drive-role.ts'
import { lostAndUnread } from '../verify/lost-and-unread.ts'

/** What a command works with: the settings, and the database that it shares with the server if one is running. */
export interface Session {
  readonly config: Config
  readonly db: Database
  readonly log: Logger
  /** Aborted when the person at the terminal has had enough. */
  readonly signal: AbortSignal
}

/**
 * Opens the catalogue for a command and closes it again, whatever `use` does. With the embedded database: that of the
 * running server, or one started for the purpose, which keeps a server from starting in the meantime. Throws
 * `database_unavailable`.
 */
export async function withSession<Result>(
  config: Config,
  log: Logger,
  signal: AbortSignal,
  use: (session: Session) => Promise<Result>,
): Promise<Result> {
  keepLocksIn(config.dataDir)
  const { settings, close } = await connect(config, log, signal)
  try {
    const onLost = (error: Error) => log.debug({ err: error }, 'a connection to the database broke')
    // A command may ask for everything there is.
    const db = openDatabase(settings, onLost, { statementMs: 0 })
    try {
      await expectUtf8(db, settings)
      await migrate(db)
      return await use({ config, db, log, signal })
    } finally {
      await db.destroy()
    }
  } finally {
    await close()
  }
}

async function connect(
  config: Config,
  log: Logger,
  signal: AbortSignal,
): Promise<{ settings: ConnectionSettings; close: () => Promise<void> }> {
  const { databaseUrl, dataDir } = config
  if (databaseUrl !== undefined) return { settings: { connectionString: databaseUrl }, close: async () => {} }
  await makeFolders(dataDir)
  const dataLock = await lockFolder(dataDir)
  if (dataLock === undefined) return { settings: await connectionToRunning(dataDir), close: async () => {} }
  return startOwn(config, dataLock, log, signal)
}

async function startOwn({ dataDir }: Config, dataLock: ProcessLock, log: Logger, signal: AbortSignal) {
  try {
    const server = await startEmbeddedServer({ dataDir, log, signal })
    return {
      settings: server.connection,
      close: async () => {
        await server.stop()
        await dataLock.release()
      },
    }
  } catch (error) {
    await dataLock.release()
    throw error
  }
}

/**
 * The library that the catalogue belongs to, its drive there. Throws `rebuild_needed` if it belongs to none,
 * `drive_missing` and `drive_error`.
 */
export async function openLibrary({ config, db }: Session): Promise<Library> {
  const id = await findLibraryId(db)
  if (id === undefined) {
    throw new AppError(
      'rebuild_needed',
      'The database does not know a library yet. Start the server once; if the drive holds one already, run `npm run iclood -- rebuild`.',
    )
  }
  const role = libraryDrive(await findWhereabouts(db))
  const drive = new Drive(config.libraryFolder, id, { onMissing: () => {}, onReturned: () => {} }, role)
  await drive.check()
  return createLibrary(db, drive, { ...config, lostAndUnread, now: () => new Date() })
}
