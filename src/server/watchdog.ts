import { spawn } from 'node:child_process'
import type { Logger } from 'pino'

/** Pings in the time after which the service is taken for dead: one that comes late or is lost ends nothing. */
const PINGS = 4

/**
 * Tells systemd's watchdog again and again that the event loop turns, if `env` says that there is one: a service that
 * hangs is started again. Nothing else feeds it: whoever pings is started by a turn of the event loop, each time. It is
 * a program, since Node can't send what systemd wants (a datagram over a Unix socket) by itself.
 */
export function feedWatchdog(env: Readonly<Record<string, string | undefined>>, log: Pick<Logger, 'warn'>): void {
  const { NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, PATH } = env
  const limitMs = Number(WATCHDOG_USEC) / 1000
  if (NOTIFY_SOCKET === undefined || !(limitMs > 0)) return
  if (WATCHDOG_PID !== undefined && Number(WATCHDOG_PID) !== process.pid) return
  let hasWarned = false
  const feed = () => {
    const child = spawn('systemd-notify', ['WATCHDOG=1'], { env: { PATH, NOTIFY_SOCKET }, stdio: 'ignore' })
    child.on('error', (error) => {
      if (!hasWarned) log.warn({ err: error }, 'systemd’s watchdog can’t be told that all is well')
      hasWarned = true
    })
  }
  feed()
  setInterval(feed, limitMs / PINGS).unref()
}
