import type { Logger } from 'pino'
import { Bell, rest } from '../base/bell.ts'
import { type Alert, type Problem, reconcileAlerts } from '../catalogue/alerts.ts'
import type { Database } from '../catalogue/connection.ts'
import { markTold } from '../catalogue/findings.ts'
import { type AppError, hasCode, inFull } from '../errors.ts'
import type { Health } from './model.ts'
import { findingKey, isUndecided } from './problems.ts'

const EVERY_MS = 60_000
/** What comes in a bunch is looked at once. */
const GATHER_MS = 500
/** A problem that is over before this has passed, such as a drive that is mounted anew, is none. */
const LASTING_MS = 2_000
/** A database that is restarted is back before this. */
const OUTAGE_MS = 60_000
/** What watches over these has said so in the log already, with the cause. */
const LOGGED_ELSEWHERE = new Set(['drive_missing', 'mirror_missing', 'mirror_full', 'mirror_error'])
const isLoggedElsewhere = (key: string) => LOGGED_ELSEWHERE.has(key.split(':', 1)[0] ?? key)

/** Of what the catalogue does not keep. */
const ONCE = { isNote: false, edition: 1 } as const

export interface MonitorOptions {
  db: Database
  assess: () => Promise<Health>
  /** The alerts in the catalogue have changed. */
  onChange: () => void
  /** The database has been away for a while, which it can't remember itself; `undefined`: it is back. */
  onOutage: (outage: Alert | undefined) => void
  log: Pick<Logger, 'info' | 'warn' | 'error'>
  now: () => Date
}

/**
 * Looks after the household's backup: every minute, and soon after something has happened, it brings the alerts up to
 * date.
 */
export class Monitor {
  readonly #options: MonitorOptions
  /** When present problems were first seen, by key. */
  readonly #seen = new Map<string, number>()
  /** When something has to be told again at the latest. */
  #nextAt: Date | null = null
  #isWaiting = false
  /** What the log has been told of. */
  readonly #logged = new Set<string>()
  #awaySince: Date | undefined
  readonly #bell = new Bell()

  constructor(options: MonitorOptions) {
    this.#options = options
  }

  /** Something has happened that may be a problem, or the end of one. */
  readonly soon = (): void => {
    this.#bell.ring()
  }

  /** Somebody has asked how the backup is: what they were told and the alerts do not know yet is looked into soon. */
  compare({ problems, notes }: Health): void {
    const seen = [...problems, ...notes]
    const isKnown = seen.length === this.#seen.size && seen.every(({ key }) => this.#seen.has(key))
    if (!isKnown) this.soon()
  }

  /** Goes on until `signal`, then resolves. */
  async run(signal: AbortSignal): Promise<void> {
    const { log } = this.#options
    while (!signal.aborted) {
      this.#bell.silence()
      try {
        await this.#look()
      } catch (error) {
        // Watching over photos must not keep them from being taken.
        log.error({ err: error }, 'looking after the backup failed in a way that nobody foresaw')
      }
      if (await this.#bell.wait(this.#pause(), signal)) await rest(GATHER_MS, signal)
    }
  }

  #pause(): number {
    if (this.#isWaiting) return LASTING_MS
    const left = this.#nextAt === null ? EVERY_MS : this.#nextAt.getTime() - this.#options.now().getTime()
    return Math.min(Math.max(left, 0), EVERY_MS)
  }

  async #look(): Promise<void> {
    const { db, assess, onChange, onOutage, now } = this.#options
    try {
      const health = await assess()
      const { lasting, young } = this.#sort([...health.problems, ...health.notes])
      const isUnjudged = isUndecided(health)
      const isOpen = (key: string) => isUnjudged(key) || young.has(key)
      const { raised, grown, cleared, nextAt } = await reconcileAlerts(db, lasting, isOpen, now())
      this.#nextAt = nextAt
      const told = new Set([...raised, ...grown].map(({ key }) => key))
      for (const finding of health.findings) {
        if (told.has(findingKey(finding))) await markTold(db, finding.copy, finding.kind)
      }
      this.#write(lasting, grown, cleared)
      if (raised.length + grown.length + cleared.length > 0) onChange()
    } catch (error) {
      if (!hasCode(error, 'database_unavailable', 'data_dir_full')) throw error
      this.#noteAway(error)
      return
    }
    this.#awaySince = undefined
    onOutage(undefined)
  }

  /** Tells the problems that have lasted for a while from those that may be over in a moment. */
  #sort(problems: readonly Problem[]): { lasting: Problem[]; young: Set<string> } {
    const present = new Set(problems.map(({ key }) => key))
    for (const key of this.#seen.keys()) if (!present.has(key)) this.#seen.delete(key)
    const now = performance.now()
    for (const key of present) if (!this.#seen.has(key)) this.#seen.set(key, now)
    const lasting = problems.filter(({ key }) => now - (this.#seen.get(key) ?? now) >= LASTING_MS)
    const young = new Set(present)
    for (const { key } of lasting) young.delete(key)
    this.#isWaiting = young.size > 0
    return { lasting, young }
  }

  #write(lasting: readonly Problem[], grown: readonly Problem[], cleared: readonly Problem[]): void {
    const { log } = this.#options
    for (const { key } of grown) this.#logged.delete(key)
    const said = new Map([...lasting, ...grown].map((problem) => [problem.key, problem]))
    for (const { key, title, message } of said.values()) {
      if (this.#logged.has(key)) continue
      this.#logged.add(key)
      if (!isLoggedElsewhere(key)) log.warn({ problem: key }, `${title}. ${message}`)
    }
    for (const { key, title, isNote } of cleared) {
      this.#logged.delete(key)
      if (!isLoggedElsewhere(key) && !isNote) log.info({ problem: key }, `solved: ${title}`)
    }
  }

  #noteAway(error: AppError): void {
    const now = this.#options.now()
    this.#awaySince ??= now
    const since = this.#awaySince
    if (now.getTime() - since.getTime() < OUTAGE_MS) return
    const problem = { key: 'database_unavailable', severity: 'error', title: 'The database can’t be reached' } as const
    this.#options.onOutage({ ...problem, message: inFull(error), since, raisedAt: now, clearedAt: null, ...ONCE })
  }
}
