import { mkdir } from 'node:fs/promises'
import { setTimeout } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { announceLibrary, announceTrouble } from './announcement.ts'
import { type Database, openDatabase } from './catalogue/connection.ts'
import { startEmbeddedServer } from './catalogue/embedded/server.ts'
import { migrate } from './catalogue/migrate.ts'
import type { Config } from './config.ts'
import { AppError, hasErrno } from './errors.ts'
import { lockFolder, lockLibrary } from './folder-locks.ts'
import { createApp } from './http/app.ts'
import { endRequests, listen } from './http/listen.ts'
import { createLibrary, forgetFolders, type Library } from './ingest/library.ts'
import { establishIdentity } from './ingest/open.ts'
import { takeOver } from './ingest/take-over.ts'
import type { ProcessLock } from './process-lock.ts'
import { type Resolvers, withResolvers } from './resolvers.ts'
import { ServerState } from './state.ts'
import { Drive } from './storage/drive.ts'
import { clearStaging } from './storage/staging.ts'

/** A reason not to run at all, for the person at the terminal. */
export class StartError extends Error {}

export interface RunningServer {
  /** Takes no new requests, gives those under way 30 s, shuts the embedded database down. */
  stop(): Promise<void>
  /** Rejects when the server can't go on; resolves once it has stopped. */
  readonly ended: Promise<void>
}

const REQUEST_GRACE_MS = 30_000
const RETRY_MS = 1_000
/** The longest that a start puts off listening; a database's first start on a slow card may take longer. */
const READY_MS = 5_000
const PROGRESS_MS = 10_000

/**
 * Composes the server and starts it. It listens, and answers `/ping`, before the database and the drive are there; those are waited
 * for as long as it takes. Throws `StartError` for what no waiting mends: the port or the data folder is in use. `signal` gives up the
 * start: it throws once nothing is left running.
 */
export async function serve(config: Config, version: string, log: Logger, signal: AbortSignal): Promise<RunningServer> {
  await makeDataDir(config.dataDir)
  const dataLock = await mustHave(lockFolder(config.dataDir), `the data folder ${config.dataDir}`, 'DATA_DIR')
  const state = new ServerState()
  const ending = new AbortController()
  signal.addEventListener('abort', () => ending.abort(signal.reason), { once: true })
  if (signal.aborted) ending.abort(signal.reason)
  const start: Start = { config, state, log, signal: ending.signal, settled: withResolvers(), port: withResolvers() }
  const ended = run(start).catch((error: unknown) => {
    if (!ending.signal.aborted) throw error
  })
  const end = async () => {
    ending.abort()
    start.port.resolve(undefined)
    await ended
    await dataLock.release()
  }
  try {
    const app = await createApp({ service: state, access: config, maxFileSize: config.maxFileSize, version, log })
    // Phones that find the server should find it ready; but it need not be, to say why it is not.
    await Promise.race([start.settled.promise, ended, setTimeout(READY_MS, undefined, { signal: ending.signal })])
    signal.throwIfAborted()
    start.port.resolve(await listenOrExplain(app, config))
    signal.throwIfAborted()
    return {
      ended,
      stop: async () => {
        state.isStopping = true
        await endRequests(app, REQUEST_GRACE_MS)
        await end()
      },
    }
  } catch (error) {
    await end()
    throw error
  }
}

/** What the parts of a start share. */
interface Start {
  config: Config
  state: ServerState
  log: Logger
  /** Ends everything. */
  signal: AbortSignal
  /** Resolves when the library is open, or it is known what it waits for. */
  settled: Resolvers<void>
  /** Resolves to the port that it listens on; to undefined if it comes to nothing. */
  port: Resolvers<number | undefined>
}

async function listenOrExplain(app: FastifyInstance, config: Config): Promise<number> {
  try {
    return await listen(app, config.port, config.host)
  } catch (error) {
    throw new StartError(
      hasErrno(error, 'EADDRINUSE')
        ? `Port ${config.port} is in use by another program. Stop that one, or set PORT to another number.`
        : `Listening on port ${config.port} failed: ${messageOf(error)}. Check PORT and HOST.`,
    )
  }
}

/** Brings up the database, then the library, and keeps them going until the signal. Rejects if they can't be had at all. */
async function run(start: Start): Promise<void> {
  const { config, log, signal } = start
  const embedded =
    config.databaseUrl === undefined ? await startEmbeddedServer({ dataDir: config.dataDir, log, signal }) : undefined
  const settings = embedded?.connection ?? { connectionString: config.databaseUrl }
  const onLost = (error: Error) => log.debug({ err: error }, 'a connection to the database broke')
  const db = openDatabase(settings, onLost)
  try {
    await patiently(start, async () => {
      // An old household's tables may take minutes to be extended.
      const patient = openDatabase(settings, onLost, { queryTimeoutMs: 0 })
      await migrate(patient).finally(() => patient.destroy())
    })
    start.state.setDatabase(db)
    await runLibrary(start, db)
  } finally {
    await db.destroy()
    await embedded?.stop()
  }
}

async function runLibrary(start: Start, db: Database): Promise<void> {
  const { config, state, log, signal } = start
  const id = await patiently(start, () => establishIdentity(db, config.libraryFolder, new Date()))
  const libraryLocks = await mustHave(
    lockLibrary(config.libraryFolder, id),
    `the library in ${config.libraryFolder}`,
    'UPLOAD_FOLDER',
  )
  try {
    const drive = new Drive(config.libraryFolder, id, {
      onMissing: (reason) => announceTrouble(reason, config, log),
      onReturned: () => {
        log.info('the drive is back, uploads go on')
        forgetFolders(library)
        clearStaging(drive).catch((error: unknown) => log.warn({ err: error }, 'staging could not be cleared'))
      },
    })
    const library: Library = createLibrary(db, drive, {
      ...config,
      now: () => new Date(),
      changed: state.changed,
    })
    state.setLibrary(library)
    const left = await patiently(start, () => clearStaging(drive))
    if (left > 0) log.info({ files: left }, 'removed unfinished uploads of an earlier run')
    start.settled.resolve()
    const port = await start.port.promise
    if (port !== undefined) await patiently(start, () => announceLibrary(library, config, port, log))
    await Promise.all([watchDrive(drive, signal), takeOverPatiently(library, state, log, signal)])
  } finally {
    await libraryLocks.release()
  }
}

/** While the drive is away, looks for it, so that the log says when it is back. While it is there, it may sleep. */
async function watchDrive(drive: Drive, signal: AbortSignal): Promise<void> {
  for (;;) {
    await setTimeout(RETRY_MS, undefined, { signal, ref: false })
    if (drive.isPresent) continue
    await drive.check().catch((error: unknown) => {
      if (!(error instanceof AppError)) throw error
    })
  }
}

/** Reads what an older server has left; when the database goes away in between, goes on when it is back. */
async function takeOverPatiently(
  library: Library,
  state: ServerState,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  let reported = 0
  for (;;) {
    try {
      return await takeOver(library, {
        isBusy: () => state.uploads.size > 0,
        report: (progress) => {
          const isDone = progress.done >= progress.total
          if (!isDone && Date.now() - reported < PROGRESS_MS) return
          reported = Date.now()
          log.info(progress, isDone ? 'read all photos of the older server' : 'reading the photos of the older server')
        },
        reportTrouble: (path, error) => log.warn({ path, err: error }, 'a photo of the older server could not be read'),
        signal,
      })
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      await setTimeout(RETRY_MS * 10, undefined, { signal })
    }
  }
}

/** Tries until it works, saying once what is missing. Only what may come back is waited for; other errors are thrown. */
async function patiently<Result>(start: Start, attempt: () => Promise<Result>): Promise<Result> {
  let announced: string | undefined
  for (;;) {
    start.signal.throwIfAborted()
    try {
      return await attempt()
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      start.state.setReason(error)
      start.settled.resolve()
      if (announced !== error.code) announceTrouble(error, start.config, start.log)
      announced = error.code
    }
    await setTimeout(RETRY_MS, undefined, { signal: start.signal })
  }
}

async function makeDataDir(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true })
  } catch (error) {
    throw new StartError(
      `The data folder ${path} can't be made: ${messageOf(error)}. Check its permissions, or set DATA_DIR.`,
    )
  }
}

async function mustHave(wanted: Promise<ProcessLock | undefined>, what: string, setting: string): Promise<ProcessLock> {
  const held = await wanted
  if (held !== undefined) return held
  throw new StartError(
    `Another iClood server, or one of its commands, is already using ${what}. Stop that one first, or give this one another ${setting}.`,
  )
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
