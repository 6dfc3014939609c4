import type { Logger } from 'pino'
import { Backoff } from '../base/backoff.ts'
import { rest } from '../base/bell.ts'
import { addressOf } from './receiver.ts'
import { deliver, NotDelivered } from './send.ts'

const EVERY_MS = 60_000

export interface HeartbeatOptions {
  /** HEARTBEAT_URL: asked for with a GET, which is what healthchecks.io and Uptime Kuma count as a sign of life. */
  url: string
  /** Whether the backup works at this moment. May throw: then it does not. */
  isHealthy: () => Promise<boolean>
  log: Pick<Logger, 'info' | 'warn' | 'debug'>
  /** ms from the end of one to the next; a minute if it is not said. */
  everyMs?: number
}

/**
 * Tells somebody elsewhere every minute that the backup works, so that they notice when it does not, whatever the
 * reason: also one that keeps this machine from saying anything at all. While something is wrong nothing is sent. Goes
 * on until `signal`, then resolves.
 */
export async function keepHeartBeating(options: HeartbeatOptions, signal: AbortSignal): Promise<void> {
  const { url, isHealthy, log, everyMs = EVERY_MS } = options
  const { href, host, headers } = addressOf(url)
  const backoff = new Backoff(everyMs)
  while (!signal.aborted) {
    try {
      if (await isHealthy().catch(() => false)) {
        await deliver(href, { method: 'GET', headers }, 'HEARTBEAT_URL', signal)
        if (backoff.succeeded()) log.info({ host }, 'the heartbeat is heard again')
      }
    } catch (error) {
      if (signal.aborted) return
      // Whatever it is, photos are taken all the same.
      const details = error instanceof NotDelivered ? { host, reason: error.message } : { host, err: error }
      const message = 'HEARTBEAT_URL could not be told that all is well; it is tried again every minute'
      if (backoff.failed().isNews) log.warn(details, message)
      else log.debug(details, message)
    }
    await rest(everyMs, signal)
  }
}
