/*
 * server/: One start and one stop. What runs is composed here: database, library, background work, watch, HTTP.
 * Nothing below knows that it is a server.
 */

import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { lockFolder } from '../archive/folder-locks.ts'
import { UPLOAD_CONNECTIONS } from '../base/budgets.ts'
import type { Output } from '../base/log.ts'
import { makeFolders } from '../base/make-folders.ts'
import { leaveNote, type OwnerNote, readNote, removeNote } from '../base/owner-note.ts'
import { keepLocksIn, type ProcessLock } from '../base/process-lock.ts'
import { withResolvers } from '../base/resolvers.ts'
import { openDatabase } from '../catalogue/connection.ts'
import { expectUtf8 } from '../catalogue/encoding.ts'
import { openRequests } from '../catalogue/requests.ts'
import type { Config } from '../config/config.ts'
import { reachable } from '../control/ask.ts'
import { hasErrno } from '../errors.ts'
import { createApp } from '../http/app.ts'
import { endRequests, listen } from '../http/listen.ts'
import { migrate } from '../migrations/migrate.ts'
import { startEmbeddedServer } from '../postgres/server.ts'
import { DataDirSpace } from '../postgres/space.ts'
import { Arrivals } from './arrivals.ts'
import { ServerControl } from './control.ts'
import { ownNames } from './own-names.ts'
import { runLibrary } from './run-library.ts'
import { createWatch } from './run-watch.ts'
import { mustHave, patiently, type Start, StartError } from './start.ts'
import { ServerState } from './state.ts'

export interface RunningServer {
  /** Takes no new requests, gives those under way 30 s, shuts the embedded database down. */
  stop(): Promise<void>
  /** Rejects when the server can't go on; resolves once it has stopped. */
  readonly ended: Promise<void>
}

/** Originals after which it is said how far the database has been brought up to date. */
const TOLD_EVERY = 100_000
const REQUEST_GRACE_MS = 30_000
/** What a stop waits for the drive, once all requests have ended: the journal's last lines take a moment. */
const DRIVE_GRACE_MS = 10_000
/** The longest that a start puts off listening; a database's first start on a slow card may take longer. */
const READY_MS = 3_000

/**
 * Composes the server and starts it. It listens, and answers `/ping`, before the database and the drive are there;
 * those are waited for as long as it takes. Throws `StartError` for what no waiting mends: the port or the data folder
 * is in use. `signal` gives up the start: it throws once nothing is left running.
 */
export async function serve(
  config: Config,
  version: string,
  { log, show }: Output,
  signal: AbortSignal,
): Promise<RunningServer> {
  keepLocksIn(config.dataDir)
  await makeDataDir(config.dataDir)
  const dataLock = await lockDataDir(config.dataDir, log, signal)
  const leave = (door?: OwnerNote['door']) =>
    leaveNote(config.dataDir, { command: 'serve', door }).catch((error: unknown) =>
      log.warn({ err: error }, 'no command can ask this server for anything, since DATA_DIR can’t be written to'),
    )
  await leave()
  const arrivals = new Arrivals(log, show)
  const state = new ServerState((arrival) => arrivals.note(arrival))
  const ending = new AbortController()
  signal.addEventListener('abort', () => ending.abort(signal.reason), { once: true })
  if (signal.aborted) ending.abort(signal.reason)
  const control = new ServerControl(config, state)
  const [settled, port] = [withResolvers<void>(), withResolvers<number | undefined>()]
  const start: Start = { config, state, control, log, signal: ending.signal, settled, port }
  const ended = run(start).catch((error: unknown) => {
    if (!ending.signal.aborted) throw error
  })
  const end = async () => {
    ending.abort()
    start.port.resolve(undefined)
    await ended
    await removeNote(config.dataDir).catch(() => {})
    await dataLock.release()
  }
  try {
    const app = await createApp({
      service: state,
      access: { ...config, ownNames },
      maxFileSize: config.maxFileSize,
      version,
      log,
      control,
    })
    // Phones that find the server should find it ready; but it need not be, to say why it is not.
    await Promise.race([start.settled.promise, ended, setTimeout(READY_MS, undefined, { signal: ending.signal })])
    signal.throwIfAborted()
    const listening = await listenOrExplain(app, config)
    start.port.resolve(listening)
    await leave({ address: addressOf(app, listening), secret: control.secret })
    signal.throwIfAborted()
    return {
      ended,
      stop: async () => {
        state.isStopping = true
        control.stop()
        if (state.uploads.size > 0) log.info(waitingFor(state.uploads.size))
        await endRequests(app, REQUEST_GRACE_MS)
        arrivals.tell()
        await end()
      },
    }
  } catch (error) {
    await end()
    throw error
  }
}

/** Waits for a command that works with DATA_DIR, not for another server. */
function lockDataDir(dataDir: string, log: Output['log'], signal: AbortSignal): Promise<ProcessLock> {
  let told: string | undefined
  const isPassing = async () => {
    const note = await readNote(dataDir).catch(() => undefined)
    if (note === undefined || note.command === 'serve') return false
    if (told !== note.command)
      log.warn(`\`${note.command}\` is at work with ${dataDir}; the server starts when it has ended`)
    told = note.command
    return true
  }
  return mustHave(() => lockFolder(dataDir), `the data folder ${dataDir}`, 'DATA_DIR', { isPassing, signal })
}

/** Where this machine finds the server itself. */
function addressOf(app: FastifyInstance, port: number): string {
  const address = app.server.address()
  const host = reachable(typeof address === 'object' ? address?.address : undefined)
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

function waitingFor(uploads: number): string {
  const what = uploads === 1 ? 'an upload' : `${uploads} uploads`
  return `waiting for ${what} to end, for ${REQUEST_GRACE_MS / 1000} s at most; Ctrl-C once more stops at once, and what is cut off is sent again`
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

/** Large databases of an earlier version take a while to be brought up to date. */
function tellOfFilling(originals: number, log: Start['log']): void {
  if (originals % TOLD_EVERY === 0) log.info({ originals }, 'bringing the database up to date')
}

/**
 * Brings up the database, then the library, and keeps them going until the signal. Rejects if they can't be had at all.
 */
async function run(start: Start): Promise<void> {
  const { config, log, signal } = start
  const embedded =
    config.databaseUrl === undefined ? await startEmbeddedServer({ dataDir: config.dataDir, log, signal }) : undefined
  const dataDirSpace = embedded === undefined ? undefined : new DataDirSpace(config.dataDir)
  if (dataDirSpace !== undefined) start.state.setDataDirSpace(dataDirSpace)
  const settings = embedded?.connection ?? { connectionString: config.databaseUrl }
  const onLost = (error: Error) => log.debug({ err: error }, 'a connection to the database broke')
  const db = openDatabase(settings, onLost)
  const uploads = openDatabase(settings, onLost, { name: 'iclood uploads', connections: UPLOAD_CONNECTIONS })
  const requests = openRequests(settings, onLost, db)
  start.state.setRequests(requests)
  // Large tables take minutes to be extended, or filled.
  const openPatient = () => openDatabase(settings, onLost, { statementMs: 0 })
  try {
    await patiently(start, async () => {
      await expectUtf8(db, settings)
      const patient = openPatient()
      await migrate(patient, (originals) => tellOfFilling(originals, log)).finally(() => patient.destroy())
    })
    start.control.setCatalogue(openPatient)
    const watch = createWatch(start, db, dataDirSpace)
    start.state.setAssessment(watch.assess)
    const ending = new AbortController()
    const watching = watch.run(AbortSignal.any([signal, ending.signal]))
    try {
      await orGivenUp(runLibrary(start, { db, uploads, openPatient }), start)
    } finally {
      ending.abort()
      await orGivenUp(watching, start)
    }
  } finally {
    await Promise.all([db.destroy(), uploads.destroy(), requests.destroy()])
    await embedded?.stop()
  }
}

/**
 * Waits for what the library does, but after the signal only for a while: a call on a drive that does not answer may
 * never return, and nothing else is to wait for it.
 */
async function orGivenUp(work: Promise<void>, { signal, log }: Start): Promise<void> {
  const ended = new AbortController()
  const giveUp = async () => {
    if (!signal.aborted) await once(signal, 'abort', { signal: ended.signal })
    await setTimeout(DRIVE_GRACE_MS, undefined, { signal: ended.signal })
    log.warn('the drive does not answer; it is not waited for any longer')
  }
  await Promise.race([work, giveUp().catch(() => work)]).finally(() => ended.abort())
}

async function makeDataDir(path: string): Promise<void> {
  try {
    await makeFolders(path)
  } catch (error) {
    throw new StartError(
      `The data folder ${path} can't be made: ${messageOf(error)}. Check its permissions, or set DATA_DIR.`,
    )
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
