import { setTimeout } from 'node:timers/promises'
import type { Logger } from 'pino'
import { lockLibrary } from '../archive/folder-locks.ts'
import { createLibrary, forgetFolders, type Library } from '../archive/library.ts'
import type { ProcessLock } from '../base/process-lock.ts'
import type { Database } from '../catalogue/connection.ts'
import { beginRun, endRun, findLibraryId, findWhereabouts, noteWhereabouts } from '../catalogue/library.ts'
import type { News } from '../catalogue/outbox.ts'
import { AppError } from '../errors.ts'
import { JournalKeeper } from '../journal/keeper.ts'
import { type KeeperOptions, MirrorKeeper } from '../mirror/keeper.ts'
import { Drive, type DriveEvents } from '../storage/drive.ts'
import { driveError } from '../storage/drive-error.ts'
import { libraryDrive } from '../storage/drive-role.ts'
import { hasherFor, measureSpeed } from '../storage/hashing/choose-hasher.ts'
import { hashHere } from '../storage/hashing/hasher.ts'
import { clearStaging, LEFT_ALONE } from '../storage/staging.ts'
import { whereaboutsOf } from '../storage/whereabouts.ts'
import { ContinuousVerification } from '../verify/continuous.ts'
import { lostAndUnread } from '../verify/lost-and-unread.ts'
import { verifyOriginal } from '../verify/verify-original.ts'
import { Adoption } from './adoption.ts'
import { announceLibrary, announceTrouble } from './announcement.ts'
import { establishLibrary } from './establish-library.ts'
import { mustHave, patiently, RETRY_MS, type Start } from './start.ts'

/** Photos are read back when nobody has uploaded anything for this long. */
const QUIET_MS = 2_000
/** How often a drive that is there is looked at. */
const GLANCE_MS = 15_000
const NOT_SAID = 'that it has ended cleanly could not be recorded; the next start looks for what was left'
/** After a failure that nobody foresaw. */
const AGAIN_MS = 10_000

/** The catalogue over connections for different ends. */
export interface Catalogues {
  /** For all that goes on in the background, or is over in a moment. */
  db: Database
  /** For uploads alone, so that they never wait for anything else. */
  uploads: Database
  /** For what takes minutes. */
  openPatient: () => Database
}

/** Opens the library once its drive is there and does all that goes on in the background, until the signal. */
export async function runLibrary(start: Start, { db, uploads, openPatient }: Catalogues): Promise<void> {
  const { config, state, control, log } = start
  const { id, locks: libraryLocks } = await holdLibrary(start, db, openPatient)
  const speed = measureSpeed()
  const hasher = hasherFor(speed)
  log.debug({ megabytesPerSecond: Math.round(speed), ownThread: hasher !== hashHere }, 'SHA-256 was measured')
  let journal: JournalKeeper | undefined
  let mirrors: MirrorKeeper[] = []
  let missedAt = new Date()
  let isOpen = false
  /** Whether nothing lies on the drive that an upload has left there without a record. */
  let isClean = () => false
  try {
    const events: DriveEvents = {
      onMissing: (reason) => {
        missedAt = new Date()
        // Whoever waits for it to be opened says so.
        if (isOpen) announceTrouble(reason, config, log)
        state.trouble()
      },
      onReturned: () => {
        log.info('the drive is back, uploads go on')
        state.trouble()
        forgetFolders(library)
        journal?.forget()
        adoption.wake()
        verification.readSoon(missedAt)
        clear(drive, log).catch((error: unknown) => log.warn({ err: error }, 'staging could not be cleared'))
      },
    }
    const lastSeen = await patiently(start, () => findWhereabouts(db))
    const drive = new Drive(config.libraryFolder, id, events, libraryDrive(lastSeen))
    const library: Library = createLibrary(db, drive, {
      ...config,
      uploads,
      lostAndUnread,
      now: () => new Date(),
      describe: (look) => journal?.describe(look) ?? look(false),
      hasher,
      readSoon: (around) => verification.readSoon(around),
    })
    const verification = new ContinuousVerification(library, {
      every: config.verifyEvery,
      isBusy: () => state.uploads.isBusy(QUIET_MS) || control.isVerifying,
      log,
      onFinding: state.trouble,
    })
    const adoption = new Adoption(library, start)
    await patiently(start, () => clear(drive, log))
    await patiently(start, () => noteWhere(drive, db))
    const wasClean = await patiently(start, () => beginRun(db))
    isClean = () => wasClean
    await patiently(start, () => adoption.begin(wasClean))
    await patiently(start, () => verification.begin({ wasClean }))
    isOpen = true
    // An upload that has outlived its time may still be recorded.
    isClean = () => state.uploads.size === 0 && !adoption.isOwed
    mirrors = openMirrors(library, start, wasClean)
    control.setMirrors(mirrors)
    journal = openJournal(library, start, mirrors)
    state.setLibrary(library)
    start.settled.resolve()
    const port = await start.port.promise
    if (port !== undefined) await patiently(start, () => announceLibrary(library, config, port, log))
    state.setMirrorStatuses(() => Promise.all(mirrors.map((mirror) => mirror.status())))
    await Promise.all([
      keepRunning((signal) => watchDrive(drive, signal), start),
      keepRunning((signal) => adoption.run(signal), start),
      keepRunning((signal) => verification.run(signal), start),
      ...mirrors.map((mirror) => keepRunning((signal) => mirror.run(signal), start)),
    ])
  } finally {
    await journal?.close()
    await Promise.all(mirrors.map((mirror) => mirror.close()))
    if (isClean()) await endRun(db).catch((error: unknown) => log.warn({ err: error }, NOT_SAID))
    await hasher.close()
    await libraryLocks.release()
  }
}

/**
 * Establishes the library and locks it. Until it is locked, another server may give the catalogue to its own library;
 * then this one begins anew: a catalogue is never that of two folders.
 */
async function holdLibrary(
  start: Start,
  db: Database,
  openPatient: () => Database,
): Promise<{ id: string; locks: ProcessLock }> {
  const { libraryFolder } = start.config
  for (;;) {
    const id = await establishLibrary(start, db, openPatient)
    const lock = () => lockLibrary(libraryFolder, id)
    const locks = await mustHave(lock, `the library in ${libraryFolder}`, 'UPLOAD_FOLDER')
    try {
      if ((await patiently(start, () => findLibraryId(db))) === id) return { id, locks }
    } catch (error) {
      await locks.release()
      throw error
    }
    await locks.release()
  }
}

/** Clears staging, and says what it has found there. Throws as `clearStaging`. */
async function clear(drive: Drive, log: Logger): Promise<void> {
  const { files, others } = await clearStaging(drive)
  if (files > 0) log.info({ files }, 'removed unfinished uploads of an earlier run')
  if (others.length > 0) log.warn({ library: drive.root, names: others.slice(0, 10) }, LEFT_ALONE)
}

/** Has the drive and the catalogue remember where the library is. Throws `drive_error`, `database_unavailable`. */
async function noteWhere(drive: Drive, db: Database): Promise<void> {
  try {
    const whereabouts = await whereaboutsOf(drive.root)
    drive.noteWhereabouts(whereabouts)
    await noteWhereabouts(db, whereabouts.folder, whereabouts.mountPoint)
  } catch (error) {
    throw driveError(error, 'its place was being noted')
  }
}

/** From now on the drive follows the catalogue, and so do its second copies. */
function openJournal(library: Library, { state, log }: Start, mirrors: readonly MirrorKeeper[]): JournalKeeper {
  const isBusy = () => state.uploads.size > 0
  const follow = (news: News) => {
    for (const mirror of mirrors) mirror.note(news)
  }
  const journal = new JournalKeeper(library, { isBusy, log, follow })
  state.setJournalTrouble(() => journal.trouble)
  journal.start()
  return journal
}

function openMirrors(library: Library, { config, state, log }: Start, wasClean: boolean): MirrorKeeper[] {
  const { mirrorFolders, minFreeSpace, verifyEvery } = config
  const suspect: KeeperOptions['suspect'] = async (path) => {
    await verifyOriginal(library, path)
  }
  const options = { minFreeSpace, verifyEvery, wasClean, suspect, log, onTrouble: state.trouble }
  const isBusy = () => state.uploads.size > 0
  return mirrorFolders.map(
    (folder) => new MirrorKeeper(library, { ...options, folder, folders: mirrorFolders, isBusy }),
  )
}

/**
 * Runs a task of the background until the signal. One that fails in a way that nobody foresaw is begun again after a
 * while: that must not keep photos from being taken.
 */
async function keepRunning(task: (signal: AbortSignal) => Promise<void>, { signal, log }: Start): Promise<void> {
  while (!signal.aborted) {
    try {
      return await task(signal)
    } catch (error) {
      if (signal.aborted) return
      log.error({ err: error }, 'a task in the background failed in a way that nobody foresaw; it is begun again')
    }
    await setTimeout(AGAIN_MS, undefined, { signal }).catch(() => {})
  }
}

/**
 * Looks for the drive while it is away, and now and then whether it is still there, so that the log and the alerts say
 * so. The system answers the one `stat` from memory: a drive that sleeps is not woken.
 */
async function watchDrive(drive: Drive, signal: AbortSignal): Promise<void> {
  for (;;) {
    await setTimeout(drive.isPresent ? GLANCE_MS : RETRY_MS, undefined, { signal, ref: false })
    await drive.check().catch((error: unknown) => {
      if (!(error instanceof AppError)) throw error
    })
  }
}
