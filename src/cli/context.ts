/*
 * cli/: One file a command: what a person types, and what they read. A command asks the running server, or does the
 * work itself where none runs, prints, and ends with an exit code.
 */

import type { Logger } from 'pino'
import { exitNow } from '../base/exit.ts'
import { logTo } from '../base/log.ts'
import { printFailure } from '../base/print.ts'
import { UnfitDatabase } from '../catalogue/encoding.ts'
import { type Config, ConfigError } from '../config/config.ts'
import { AnswerLost } from '../control/ask.ts'

/** npm passes on the Ctrl-C that the terminal has sent to everybody: two signals at once are one. */
const ONE_SIGNAL_MS = 250

/** What an interrupted command waits for a drive, which may never answer. */
const DRIVE_GRACE_MS = 10_000

/** The exit code of a command that could not do its work. */
export const COULD_NOT_RUN = 2

/** What every command is given by the process edge. */
export interface CommandContext {
  readonly version: string
  /** Reads the settings. Throws `ConfigError`. */
  readConfig(): Config
}

/** What a command works with. */
export interface Session {
  readonly config: Config
  readonly log: Logger
  /** Aborted when the person at the terminal has had enough. */
  readonly signal: AbortSignal
}

/**
 * Runs a command's work and ends the process with the exit code that it returns; with 2, and a message on stderr, if it
 * can't be done. The first Ctrl-C (or SIGTERM) aborts `session.signal`, a second one ends the process. Output is for
 * stdout; what is logged goes to stderr.
 */
export async function runCommand(context: CommandContext, work: (session: Session) => Promise<number>): Promise<never> {
  const ending = new AbortController()
  let since: number | undefined
  const onSignal = () => {
    const now = performance.now()
    if (since !== undefined && now - since > ONE_SIGNAL_MS) exitNow(COULD_NOT_RUN)
    if (since === undefined) setTimeout(exitNow, DRIVE_GRACE_MS, COULD_NOT_RUN).unref()
    since ??= now
    ending.abort(new Interrupted('interrupted'))
  }
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
  // Nobody may be reading any more: `iclood status | head -1`.
  process.stdout.on('error', () => {})
  try {
    const config = context.readConfig()
    const log = logTo(process.stderr, config.logLevel === 'info' ? 'warn' : config.logLevel)
    process.exit(await work({ config, log, signal: ending.signal }))
  } catch (error) {
    const forPeople = [ConfigError, UnfitDatabase, Interrupted, AnswerLost]
    printFailure(
      error,
      forPeople.some((kind) => error instanceof kind),
    )
    process.exit(COULD_NOT_RUN)
  }
}

/** The person at the terminal has stopped it. */
class Interrupted extends Error {}
