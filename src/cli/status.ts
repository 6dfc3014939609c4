import { Command } from 'commander'
import { createLibrary, type Library } from '../archive/library.ts'
import { print, printJson } from '../base/print.ts'
import { findLibraryId, findWhereabouts } from '../catalogue/library.ts'
import { hasRows } from '../catalogue/rebuild/restore.ts'
import { AppError } from '../errors.ts'
import { assess } from '../health/assess.ts'
import { healthReport } from '../http/health-json.ts'
import { mirrorStatus } from '../mirror/status.ts'
import { DataDirSpace } from '../postgres/space.ts'
import { Drive } from '../storage/drive.ts'
import { libraryDrive } from '../storage/drive-role.ts'
import { lostAndUnread } from '../verify/lost-and-unread.ts'
import { type CommandContext, runCommand } from './context.ts'
import type { Session } from './session.ts'
import { renderStatus } from './status-page.ts'

/** The exit code where something is wrong with the backup. */
const PROBLEMS = 1

/** `iclood status`: how the household's backup is, for people and (`--json`) for programs. */
export function statusCommand(context: CommandContext): Command {
  return new Command('status')
    .description('say how the backup is, and what is wrong with it')
    .option('--json', 'for programs: what /library/health answers')
    .addHelpText('after', '\nExits with 0 if all is well, 1 if something is wrong, 2 if it could not be found out.')
    .action((options: { json?: true }) => runCommand(context, (session) => showStatus(session, options.json ?? false)))
}

async function showStatus(session: Session, asJson: boolean): Promise<number> {
  const { config, db } = session
  const opened = await openAnyway(session)
  const health = await assess({
    db,
    library: () => {
      if (opened instanceof AppError) throw opened
      return opened
    },
    mirror: (library) => mirrorStatus(library, config.mirrorFolder, config.minFreeSpace),
    journal: () => undefined,
    dataDir: async () => (config.databaseUrl === undefined ? new DataDirSpace(config.dataDir).usage() : undefined),
    rules: config,
    now: () => new Date(),
  })
  if (asJson) printJson(healthReport(health), 2)
  else print(...renderStatus(health, config))
  return health.problems.length === 0 ? 0 : PROBLEMS
}

/** The library that the catalogue belongs to, whether its drive is there or not. */
async function openAnyway({ config, db }: Session): Promise<Library | AppError> {
  const id = await findLibraryId(db)
  if (id === undefined) {
    return new AppError(
      'rebuild_needed',
      'The database does not know a library yet. Start the server once; if the drive holds one already, run `npm run iclood -- rebuild`.',
    )
  }
  const role = libraryDrive(await findWhereabouts(db))
  const drive = new Drive(config.libraryFolder, id, { onMissing: () => {}, onReturned: () => {} }, role)
  if (!(await hasRows(db)) && (await isMissing(drive))) {
    return new AppError(
      'rebuild_needed',
      'No photo has been backed up yet, and the server has not taken the folder that UPLOAD_FOLDER names yet. Start it; if it is running, its log says what it waits for.',
      { detail: `UPLOAD_FOLDER is ${config.libraryFolder}.` },
    )
  }
  return createLibrary(db, drive, { ...config, lostAndUnread, now: () => new Date() })
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
