/*
 * rebuild/: The catalogue from the drive: the journal is read, strangers are adopted, what is gone is declared lost.
 */

import type { Library } from '../archive/library.ts'
import { acquireProcessLock } from '../base/process-lock.ts'
import type { Database } from '../catalogue/connection.ts'
import { findLibraryId, findWalk, recordWalk } from '../catalogue/library.ts'
import { moveToMirror } from '../catalogue/rebuild/move.ts'
import { hasRows } from '../catalogue/rebuild/restore.ts'
import { countByState } from '../catalogue/verification.ts'
import { AppError } from '../errors.ts'
import { driveError } from '../storage/drive-error.ts'
import { type LibraryFile, readLibraryFile } from '../storage/identity.ts'
import { type TakeOverProgress, takeOver } from '../verify/take-over.ts'
import { leave } from './leave.ts'
import { findLosses, type Losses } from './losses.ts'
import { type RestoredJournal, restoreJournal } from './restore-journal.ts'
import { type Adopted, adoptStrangers } from './strangers.ts'

/** What a rebuild is at. */
export type RebuildProgress =
  | { step: 'journal'; lines: number }
  | { step: 'comparing'; files: number }
  | ({ step: 'reading' } & TakeOverProgress)

/** What a rebuild has come to. */
export interface RebuildReport {
  /** The identity of the library. */
  library: string
  /** Whether the catalogue knew nothing before. */
  wasEmpty: boolean
  /** Whether the catalogue belonged to the library that this one was a mirror of. */
  wasMirror: boolean
  journal: RestoredJournal
  adopted: Adopted
  losses: Losses
  read: TakeOverProgress
  /** Originals that the drive does not have, or not intact, and those that could not be looked at, when it was over. */
  lost: number
  unreadable: number
}

export interface RebuildOptions {
  /**
   * Does what fills the catalogue while nobody else opens its library; `open` opens it once the catalogue belongs to
   * it.
   */
  restoring: <Result>(work: (open: (id: string) => Promise<Library>) => Promise<Result>) => Promise<Result>
  /** The library as it is open from then on. */
  restored: () => Promise<Library>
  /** Whether uploads are under way, which go first. */
  isBusy: () => boolean
  report: (progress: RebuildProgress) => void
  reportTrouble: (path: string, error: AppError) => void
  signal: AbortSignal
}

/**
 * Brings the catalogue back from the library in the folder `root` (absolute): what the journal knows, then what lies
 * there without a record, and reads that. Changes nothing in a catalogue that agrees with the drive. Interrupted
 * anywhere, the next call goes on. Uploads may come meanwhile.
 *
 * Throws `drive_missing` if there is no library, or one that the catalogue does not belong to; `rebuild_needed` if
 * another rebuild is under way, `invalid_request` if a server is in the way; `drive_error`, `database_unavailable`, and
 * the reason of `signal`.
 */
export async function rebuild(db: Database, root: string, options: RebuildOptions): Promise<RebuildReport> {
  const file = await findLibraryFile(root)
  return withRebuildLock(file.id, () => rebuildLibrary(db, root, file, options))
}

/**
 * Runs `work` while nobody else on this machine rebuilds that library's catalogue. Throws `rebuild_needed` if somebody
 * does.
 */
export async function withRebuildLock<Result>(id: string, work: () => Promise<Result>): Promise<Result> {
  const lock = await acquireProcessLock(`rebuild ${id}`)
  if (lock === undefined) {
    throw new AppError('rebuild_needed', 'The database is being rebuilt from the drive already. Wait for its end.')
  }
  try {
    return await work()
  } finally {
    await lock.release()
  }
}

async function rebuildLibrary(
  db: Database,
  root: string,
  file: LibraryFile,
  options: RebuildOptions,
): Promise<RebuildReport> {
  const { report, restored, signal } = options
  const before = await options.restoring((open) => restore(db, root, file, open, options))
  const read = await takeOver(await restored(), {
    ...options,
    report: (progress) => report({ step: 'reading', ...progress }),
  })
  signal.throwIfAborted()
  const result = { library: file.id, ...before, read }
  const { lost } = await countByState(db, new Date())
  return { ...result, lost: lost.files, unreadable: read.unreadable }
}

/** All of it but the reading. */
async function restore(
  db: Database,
  root: string,
  file: LibraryFile,
  open: (id: string) => Promise<Library>,
  options: RebuildOptions,
): Promise<Omit<RebuildReport, 'library' | 'read' | 'lost' | 'unreadable'>> {
  const { report, signal } = options
  const wasEmpty = !(await hasRows(db))
  const wasMirror = await takeCatalogue(db, root, file)
  const journal = await restoreJournal(db, root, file, {
    report: (lines) => report({ step: 'journal', lines }),
    signal,
  })
  report({ step: 'comparing', files: 0 })
  const library = await open(file.id)
  const adopted = await adoptStrangers(library, options)
  const losses = await findLosses(library, { ...options, report: (files) => report({ step: 'comparing', files }) })
  if ((await findWalk(db)) === undefined) await recordWalk(db, library.now())
  return { wasEmpty, wasMirror, journal, adopted, losses }
}

/** Whether a rebuild has changed anything. */
export function hasChanged(report: Omit<RebuildReport, 'lost' | 'unreadable'>): boolean {
  const { journal, adopted, losses, read } = report
  const counts = [journal.backups, journal.originals, journal.ignored, adopted.files, losses.lost, losses.restored]
  return report.wasMirror || counts.some((count) => count > 0) || read.done > read.unreadable
}

async function findLibraryFile(root: string): Promise<LibraryFile> {
  let file: LibraryFile | undefined
  try {
    file = await readLibraryFile(root)
  } catch (error) {
    throw driveError(error, 'its library was being looked for')
  }
  if (file !== undefined) return file
  throw new AppError(
    'drive_missing',
    `There is no photo library in ${root}. Connect and mount the drive that has one, or correct UPLOAD_FOLDER. If the photos are there and only the folder .iclood is missing, start the server: it takes them over.`,
  )
}

/**
 * Makes sure that the catalogue is, or may become, that of the library; returns whether it was that of the one it
 * mirrors.
 */
async function takeCatalogue(db: Database, root: string, { id, mirrorOf }: LibraryFile): Promise<boolean> {
  const owner = await findLibraryId(db)
  if (owner === undefined || owner === id) return false
  if (owner !== mirrorOf && !(await hasRows(db))) {
    await leave(db, owner)
    return false
  }
  if (owner !== mirrorOf) {
    throw new AppError(
      'drive_missing',
      `The database belongs to another library (${owner}) than the one in ${root} (${id}). Connect the right drive or correct UPLOAD_FOLDER; or give this library an empty database (DATA_DIR, DATABASE_URL).`,
    )
  }
  const lock = await acquireProcessLock(owner)
  if (lock === undefined) {
    throw new AppError(
      'invalid_request',
      'A server is working with the drive that this one is a second copy of. Stop it first, if this one shall take its place.',
    )
  }
  try {
    await moveToMirror(db, owner, id)
    return true
  } finally {
    await lock.release()
  }
}
