import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { explainFailure } from './failure.ts'
import { type Log, relayServerLog } from './server-log.ts'

/** A running server: PostgreSQL's first process, the parent of all others. */
export interface Postmaster {
  /** Resolves once it has ended, with a few words on how. Never rejects. */
  readonly ended: Promise<string>
  /** Asks for a fast shutdown and resolves once it has ended; presses harder when that takes too long. */
  shutDown(): Promise<void>
}

/** Connections are cut at once on SIGINT; what takes time is the last checkpoint, on a slow card some seconds. */
const FAST_SHUTDOWN_MS = 30_000

/** After SIGQUIT PostgreSQL itself kills what is left of it after 5 s. */
const IMMEDIATE_SHUTDOWN_MS = 10_000

/**
 * Follows the start of `child`, a `postgres` just launched, and returns once it accepts connections. Recovery after a
 * crash may make that long, so there is no limit but `signal`, which shuts it down and throws the signal's reason.
 * Throws `database_unavailable` or `disk_full` with PostgreSQL's own words when it gives up.
 */
export async function awaitPostmaster(child: ChildProcess, log: Log, signal?: AbortSignal): Promise<Postmaster> {
  const { stderr } = child
  if (stderr === null) throw new Error('postgres was launched without a pipe for its log')

  const ended = new Promise<string>((resolve) => {
    child.once('exit', (code, killer) => resolve(killer === null ? `exit code ${code}` : `killed by ${killer}`))
    child.once('error', (error) => resolve(error.message))
  })
  const shutDown = async () => {
    child.kill('SIGINT')
    if (await endsWithin(ended, FAST_SHUTDOWN_MS)) return
    log.warn('embedded PostgreSQL takes too long to shut down: ending it without a checkpoint')
    child.kill('SIGQUIT')
    if (await endsWithin(ended, IMMEDIATE_SHUTDOWN_MS)) return
    child.kill('SIGKILL')
    await ended
  }

  let announceReady = () => {}
  const ready = new Promise<true>((resolve) => {
    announceReady = () => resolve(true)
  })
  const serverLog = relayServerLog(stderr, log, (message) => {
    if (message.endsWith('database system is ready to accept connections')) announceReady()
    // SIGTERM from someone else, such as a service manager that ends every process of a service at once: it would
    // refuse new connections for as long as old ones are open. Ended now, it is started again, as long as we need it.
    if (message.endsWith('received smart shutdown request')) child.kill('SIGINT')
  })

  const onAbort = () => void shutDown()
  signal?.addEventListener('abort', onAbort, { once: true })
  if (signal?.aborted) onAbort()
  try {
    const outcome = await Promise.race([ready, ended])
    if (signal?.aborted) {
      await ended
      signal.throwIfAborted()
    }
    if (outcome === true) return { ended, shutDown }

    // Its last words may still be in the pipe, which its own children can hold open for a moment.
    if (!stderr.closed) await Promise.race([once(stderr, 'close'), delay(1000)])
    throw explainFailure('could not start', outcome, serverLog.recent())
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}

async function endsWithin(ended: Promise<unknown>, ms: number): Promise<boolean> {
  const timer = new AbortController()
  const timeout = delay(ms, false, { signal: timer.signal }).catch(() => false)
  const inTime = await Promise.race([ended.then(() => true), timeout])
  timer.abort()
  return inTime
}
