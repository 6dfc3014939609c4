import type { Readable } from 'node:stream'
import type { Logger } from 'pino'

export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>

/** A line longer than this is passed on in pieces: memory stays bounded whatever a statement holds. */
const MAX_LINE = 16 * 1024

/** Enough to explain a failed start. */
const KEPT_LINES = 20

export interface ServerLog {
  /** The last lines, oldest first. */
  recent(): readonly string[]
}

/**
 * Hands each line of `stream`, PostgreSQL's standard error with `log_line_prefix='%e '`, to `log` and `onMessage`:
 * errors as warnings, all else for debugging. It never falls behind: the pipe is read only as fast as lines are handed
 * on.
 */
export function relayServerLog(stream: Readable, log: Log, onMessage: (message: string) => void): ServerLog {
  const kept: string[] = []
  let unfinished = ''
  let level: 'debug' | 'warn' = 'debug'

  const relay = (line: string) => {
    const [, state = '', message = line] = /^([0-9A-Z]{5}) (.*)$/.exec(line) ?? []
    // An error's details follow it on lines of their own; the statement may be long and full of people's file names.
    if (/^(LOG|WARNING|ERROR|FATAL|PANIC|NOTICE|INFO|STATEMENT):/.test(message)) level = levelOf(message, state)
    log[level]({ source: 'postgres' }, message)
    kept.push(message)
    if (kept.length > KEPT_LINES) kept.shift()
    onMessage(message)
  }

  stream.setEncoding('utf8')
  stream.on('data', (text: string) => {
    const lines = (unfinished + text).split('\n')
    unfinished = lines.pop() ?? ''
    if (unfinished.length > MAX_LINE) {
      lines.push(unfinished)
      unfinished = ''
    }
    for (const line of lines) relay(line)
  })
  stream.on('close', () => {
    if (unfinished !== '') relay(unfinished)
  })

  return { recent: () => kept }
}

function levelOf(message: string, state: string): 'debug' | 'warn' {
  // Class 57P: the server starts or stops, which we ordered and report ourselves.
  return /^(WARNING|ERROR|FATAL|PANIC):/.test(message) && !state.startsWith('57P') ? 'warn' : 'debug'
}
