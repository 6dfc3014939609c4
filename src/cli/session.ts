import { setTimeout } from 'node:timers/promises'
import { lockFolder } from '../archive/folder-locks.ts'
import { makeFolders } from '../base/make-folders.ts'
import { leaveNote, type OwnerNote, readNote, removeNote } from '../base/owner-note.ts'
import { keepLocksIn, type ProcessLock } from '../base/process-lock.ts'
import { ask, NotAnswered } from '../control/ask.ts'
import type { Owner, Told } from '../control/owner.ts'
import { type Asked, type Progress, type Result, WORKS, type WorkName } from '../control/works.ts'
import { AppError, hasErrno } from '../errors.ts'
import type { Session } from './context.ts'
import { asOwner } from './own.ts'

/** How long a server that is starting or ending is waited for. */
const WAIT_MS = 10_000
const LOOK_MS = 250

/**
 * Has a piece of work done: by the server that runs with DATA_DIR, or, where none does, by this process, which keeps
 * every other one away meanwhile. Throws what comes of it; `busy` if another command is at work or the server does not
 * come to answer, `unauthorized` if this account has no rights to DATA_DIR.
 */
export async function perform<Name extends WorkName>(
  session: Session,
  name: Name,
  asked: Asked<Name>,
  told: Told<Progress<Name>> = { progress: () => {}, say: () => {} },
): Promise<Result<Name>> {
  const { config, log, signal } = session
  const { dataDir, databaseUrl, libraryFolder } = config
  keepLocksIn(dataDir)
  const until = performance.now() + WAIT_MS
  for (let before: OwnerNote | undefined; ; ) {
    signal.throwIfAborted()
    const lock = await withRights(() => lockDataDir(dataDir), dataDir)
    if (lock !== undefined) return (await own(session, lock, name, asked, told)) as Result<Name>
    const note = await withRights(() => readNote(dataDir), dataDir)
    if (note !== undefined && note.command !== 'serve' && note.command === before?.command) throw atWork(note.command)
    before = note
    const isLast = performance.now() > until
    try {
      if (note?.door !== undefined) {
        return (await ask(
          note.door,
          name,
          { ...asked, settings: { databaseUrl, libraryFolder } },
          told,
          signal,
        )) as Result<Name>
      }
      if (isLast) throw notReady()
    } catch (error) {
      const passes =
        error instanceof NotAnswered || (error instanceof AppError && error.code === 'database_unavailable')
      if (!passes || isLast) throw error instanceof NotAnswered ? notReady(error) : error
      log.debug({ err: error }, 'the server is not ready')
    }
    await setTimeout(LOOK_MS, undefined, { signal })
  }
}

async function own<Name extends WorkName>(
  session: Session,
  lock: ProcessLock,
  name: Name,
  asked: Asked<Name>,
  told: Told<Progress<Name>>,
): Promise<unknown> {
  const { config, log, signal } = session
  const run = WORKS[name].run as (owner: Owner, asked: unknown, told: unknown, signal: AbortSignal) => Promise<unknown>
  try {
    // A full disk is no reason not to look.
    await leaveNote(config.dataDir, { command: name }).catch((error: unknown) => log.debug({ err: error }, 'no note'))
    return await asOwner(session, (owner) => run(owner, asked, told, signal))
  } finally {
    await removeNote(config.dataDir).catch(() => {})
    await lock.release()
  }
}

async function lockDataDir(dataDir: string): Promise<ProcessLock | undefined> {
  await makeFolders(dataDir)
  return lockFolder(dataDir)
}

async function withRights<Result>(use: () => Promise<Result>, dataDir: string): Promise<Result> {
  try {
    return await use()
  } catch (error) {
    const reason = error instanceof AppError ? error.cause : error
    if (!hasErrno(reason, 'EACCES', 'EPERM', 'EROFS')) throw error
    throw new AppError(
      'unauthorized',
      `This needs the rights of the account that the server runs as, to whom ${dataDir} belongs: run it as that account or as root (sudo). \`status\` works for everybody while the server runs.`,
      { cause: reason },
    )
  }
}

function atWork(command: string): AppError {
  return new AppError('busy', `Another command is at work with this DATA_DIR: \`${command}\`. Wait for its end.`)
}

function notReady(because?: Error): AppError {
  const why = because === undefined ? '' : ` (${because.message})`
  return new AppError(
    'busy',
    `A server is starting or ending, and can’t be asked yet${why}. Try again in a moment; its log says what it waits for.`,
  )
}
