/*
 * notify/: Who is told of an alert, how, and how often. What is wrong is decided elsewhere.
 */

import type { Logger } from 'pino'
import { Backoff } from '../base/backoff.ts'
import { Bell, rest } from '../base/bell.ts'
import { type Alert, keepReceivers, listUntold, recordTold } from '../catalogue/alerts.ts'
import type { Database } from '../catalogue/connection.ts'
import { AppError } from '../errors.ts'
import type { Receiver } from './receiver.ts'
import { NotDelivered, send } from './send.ts'

const FIRST_RETRY_MS = 2_000
const LAST_RETRY_MS = 15 * 60_000
const DATABASE_RETRY_MS = 10_000

/**
 * Tells each receiver of each change of an alert once. What was told is kept in the catalogue, so that a restart
 * repeats nothing and forgets nothing. Each receiver is told on its own: one that is away is tried again, at growing
 * intervals, and keeps nobody waiting. An alert that clears before a receiver was told of it is not mentioned there.
 */
export class Teller {
  readonly #db: Database
  /** Each with what wakes it. */
  readonly #receivers: ReadonlyMap<Receiver, Bell>
  readonly #log: Logger
  readonly #now: () => Date
  #outage: Alert | undefined

  constructor(db: Database, receivers: readonly Receiver[], log: Logger, now: () => Date) {
    this.#db = db
    this.#receivers = new Map(receivers.map((receiver) => [receiver, new Bell()]))
    this.#log = log
    this.#now = now
  }

  /** Has a look at the alerts soon. */
  poke(): void {
    for (const bell of this.#receivers.values()) bell.ring()
  }

  /**
   * The database is away, which it can't remember itself; `undefined`: it is not, or not any more. Kept until the
   * process ends.
   */
  setOutage(outage: Alert | undefined): void {
    if (this.#outage?.key === outage?.key) return
    this.#outage = outage
    this.poke()
  }

  /** Goes on until `signal`, then resolves. */
  async run(signal: AbortSignal): Promise<void> {
    const serving = [...this.#receivers].map(([receiver, bell]) => this.#serve(receiver, bell, signal))
    await Promise.all([this.#forgetOthers(signal), ...serving])
  }

  async #forgetOthers(signal: AbortSignal): Promise<void> {
    const ids = [...this.#receivers.keys()].map(({ id }) => id)
    while (!signal.aborted) {
      try {
        return await keepReceivers(this.#db, ids)
      } catch (error) {
        if (!(error instanceof AppError)) throw error
      }
      await rest(DATABASE_RETRY_MS, signal)
    }
  }

  async #serve(receiver: Receiver, bell: Bell, signal: AbortSignal): Promise<void> {
    const told: Told = { outage: undefined, unrecorded: [] }
    const backoff = new Backoff(FIRST_RETRY_MS, LAST_RETRY_MS)
    while (!signal.aborted) {
      bell.silence()
      let waitMs = DATABASE_RETRY_MS
      try {
        await this.#tellAll(receiver, told, signal)
        if (backoff.succeeded()) this.#log.info({ receiver: receiver.host }, 'a receiver of notifications is back')
        await bell.wait(Number.POSITIVE_INFINITY, signal)
        continue
      } catch (error) {
        if (signal.aborted) return
        if (error instanceof NotDelivered) {
          const failure = backoff.failed()
          waitMs = failure.waitMs
          const details = { receiver: receiver.host, reason: error.message, retryInSeconds: waitMs / 1000 }
          if (failure.isNews) this.#log.warn(details, 'a notification could not be delivered and is tried again')
          else this.#log.debug(details, 'a notification could not be delivered')
        } else if (!(error instanceof AppError)) {
          // Who can't be told must not keep photos from being taken.
          this.#log.error({ err: error }, 'telling of a problem failed unexpectedly')
        }
      }
      // News of the database does not wait for the database; a receiver that is away is left in peace.
      await (backoff.isFailing ? rest(waitMs, signal) : bell.wait(waitMs, signal))
    }
  }

  async #tellAll(receiver: Receiver, told: Told, signal: AbortSignal): Promise<void> {
    const tell = (alert: Alert) => send(receiver.letter(alert), signal)
    const outage = this.#outage
    if (outage !== undefined && told.outage === undefined) {
      await tell(outage)
      told.outage = outage
    }
    if (outage === undefined && told.outage !== undefined) {
      await tell({ ...told.outage, clearedAt: this.#now() })
      told.outage = undefined
    }
    if (outage !== undefined) return
    await this.#record(receiver, told)
    for (const alert of await listUntold(this.#db, receiver.id)) {
      await tell(alert)
      told.unrecorded.push(alert)
      await this.#record(receiver, told)
    }
  }

  /** What was told and could not be recorded then is not told again. */
  async #record(receiver: Receiver, { unrecorded }: Told): Promise<void> {
    for (let alert = unrecorded[0]; alert !== undefined; alert = unrecorded[0]) {
      await recordTold(this.#db, receiver.id, alert, this.#now())
      unrecorded.shift()
    }
  }
}

/** What a receiver was told and the catalogue does not know. */
interface Told {
  outage: Alert | undefined
  unrecorded: Alert[]
}
