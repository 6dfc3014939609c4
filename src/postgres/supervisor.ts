import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { Postmaster } from './postmaster.ts'
import type { Log } from './server-log.ts'

const FIRST_DELAY_MS = 100
const LONGEST_DELAY_MS = 10_000

/** A server that ran this long had not been killed by its own start. */
const HEALTHY_MS = 60_000

/**
 * Starts a server with `start` and starts it again whenever it ends before `stop` is called: at growing intervals,
 * without end, since what is wrong (a full disk, too little memory) may pass. Only the very first start's failure is
 * thrown; `signal` gives that one up.
 */
export async function supervise(
  start: (signal?: AbortSignal) => Promise<Postmaster>,
  log: Log,
  signal?: AbortSignal,
): Promise<{ stop(): Promise<void> }> {
  const stopping = new AbortController()
  let postmaster = await start(signal)
  let startedAt = performance.now()
  let delayMs = FIRST_DELAY_MS

  const watch = async () => {
    const stopRequested = once(stopping.signal, 'abort')
    for (;;) {
      const how = await Promise.race([postmaster.ended, stopRequested])
      if (stopping.signal.aborted) return postmaster.shutDown()
      log.error({ how }, 'the embedded PostgreSQL ended unexpectedly: starting it again')
      if (performance.now() - startedAt > HEALTHY_MS) delayMs = FIRST_DELAY_MS
      if (!(await startAgain())) return
    }
  }

  /** Returns false when `stop` was called meanwhile. */
  const startAgain = async (): Promise<boolean> => {
    for (;;) {
      try {
        await delay(delayMs, undefined, { signal: stopping.signal })
        delayMs = Math.min(delayMs * 2, LONGEST_DELAY_MS)
        postmaster = await start(stopping.signal)
        startedAt = performance.now()
        log.info('the embedded PostgreSQL is running again')
        return true
      } catch (error) {
        if (stopping.signal.aborted) return false
        log.error({ err: error }, `the embedded PostgreSQL did not start: next try in ${delayMs / 1000} s`)
      }
    }
  }

  const watching = watch()
  return {
    stop() {
      stopping.abort()
      return watching
    },
  }
}
