import { setTimeout } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { ProcessLock } from '../base/process-lock.ts'
import type { Resolvers } from '../base/resolvers.ts'
import type { Config } from '../config/config.ts'
import { AppError } from '../errors.ts'
import { announceTrouble } from './announcement.ts'
import type { ServerControl } from './control.ts'
import type { ServerState } from './state.ts'

/** A reason not to run at all, for the person at the terminal. */
export class StartError extends Error {}

/** What the parts of a start share. */
export interface Start {
  config: Config
  state: ServerState
  control: ServerControl
  log: Logger
  /** Ends everything. */
  signal: AbortSignal
  /** Resolves when the library is open, or it is known what it waits for. */
  settled: Resolvers<void>
  /** Resolves to the port that it listens on; to undefined if it comes to nothing. */
  port: Resolvers<number | undefined>
}

export const RETRY_MS = 1_000
const LOCK_ATTEMPTS = 5

/**
 * Tries until it works, saying once what is missing. Only what may come back is waited for; other errors are thrown.
 */
export async function patiently<Result>(start: Start, attempt: () => Promise<Result>): Promise<Result> {
  let announced: string | undefined
  for (;;) {
    start.signal.throwIfAborted()
    try {
      return await attempt()
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      start.state.setReason(error)
      start.settled.resolve()
      // The code alone would hide what is found next: a folder that is empty, then another drive.
      const said = `${error.code} ${error.message}`
      if (announced !== said) announceTrouble(error, start.config, start.log)
      announced = said
    }
    await setTimeout(RETRY_MS, undefined, { signal: start.signal })
  }
}

/**
 * Takes a lock, or throws `StartError` if another server keeps it. Who only makes sure that nobody works with a
 * library, as a server does that gives its database to another one, has it for a moment; and for as long as `isPassing`
 * says that whoever has it will give it back, it is waited for.
 */
export async function mustHave(
  take: () => Promise<ProcessLock | undefined>,
  what: string,
  setting: string,
  { isPassing, signal }: { isPassing?: () => Promise<boolean>; signal?: AbortSignal } = {},
): Promise<ProcessLock> {
  for (let attempt = 1; attempt <= LOCK_ATTEMPTS; ) {
    const held = await take()
    if (held !== undefined) return held
    if (!(await isPassing?.())) attempt++
    await setTimeout(RETRY_MS / LOCK_ATTEMPTS, undefined, { signal })
  }
  throw new StartError(
    `Another iClood server, or one of its commands, is already using ${what}. Stop that one first, or give this one another ${setting}.`,
  )
}
