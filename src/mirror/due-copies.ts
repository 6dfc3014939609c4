import {
  findOldestProof,
  isTroubled,
  listDue,
  type Provable,
  type Proven,
  recordVerified,
} from '../catalogue/verification.ts'
import { hasCode } from '../errors.ts'
import { dueAt, dueBefore, horizon, type Rules } from '../verify/schedule.ts'
import type { Mirror } from './mirror.ts'
import { verifyCopy } from './verify-copy.ts'

export interface DueOptions {
  /** Milliseconds within which every copy is read back. */
  every: number
  /** Awaited between chunks. */
  pause: () => Promise<void>
  /** Whether there is something more important to do. */
  isWanted: () => boolean
  log: { warn(facts: object, message: string): void }
  /** Hears that something was found wrong; `isHealed`: it has been copied again. */
  onFinding: (isHealed: boolean) => void
}

const PORTION = 20
/** So many errors in a row are the drive's, not the files'. */
const MAX_FAILURES = 3
/** What could not be judged is tried again after this. */
const RETRY_MS = 60 * 60 * 1000

/** Reads the copies on a mirror that is there back when they are due, by the same rules as the library's originals. */
export class DueCopies {
  readonly #mirror: Mirror
  readonly #options: DueOptions
  readonly #rules: Rules
  readonly #postponed = new Set<string>()
  /** Nothing is due before, in ms since 1970. */
  #dueAt = 0
  #failures = 0

  constructor(mirror: Mirror, options: DueOptions) {
    this.#mirror = mirror
    this.#options = options
    this.#rules = { every: options.every, timeZone: mirror.library.timeZone }
  }

  /** Milliseconds until something may be due. */
  get dueIn(): number {
    const now = this.#now()
    // Further ahead than anything can be: the clock has been set back.
    if (this.#dueAt > Math.max(horizon(now, this.#rules), now + RETRY_MS)) return 0
    return Math.max(0, this.#dueAt - now)
  }

  /**
   * Reads some of what is due. Returns whether there may be more. Throws what `verifyCopy` throws, if it is not about
   * one file.
   */
  async verifyNext(): Promise<boolean> {
    if (this.dueIn > 0) return false
    const { place, library } = this.#mirror
    const now = this.#now()
    const times = { before: new Date(dueBefore(now, this.#rules)), now: new Date(now) }
    const due = await listDue(library.db, place, times, PORTION + this.#postponed.size)
    const copies = due.filter(({ path }) => !this.#postponed.has(path))
    if (copies.length === 0) {
      this.#dueAt = await this.#nextDue()
      this.#postponed.clear()
      return false
    }
    await this.#readAll(copies)
    return true
  }

  async #readAll(copies: readonly Provable[]): Promise<void> {
    const proven: Proven[] = []
    try {
      for (const copy of copies) {
        if (this.#options.isWanted()) return
        await this.#options.pause()
        const outcome = await this.#read(copy)
        if (outcome?.state === 'intact') proven.push(outcome)
        else if (outcome !== undefined) this.#report(copy, outcome)
      }
    } finally {
      await recordVerified(this.#mirror.library.db, this.#mirror.place, proven)
    }
  }

  async #read(copy: Provable): ReturnType<typeof verifyCopy> {
    try {
      const outcome = await verifyCopy(this.#mirror, copy, this.#options.pause)
      this.#failures = 0
      return outcome
    } catch (error) {
      if (!hasCode(error, 'drive_error') || ++this.#failures >= MAX_FAILURES) throw error
      this.#options.log.warn({ path: copy.path, err: error }, 'a photo could not be read back from the second copy')
      this.#postponed.add(copy.path)
      return undefined
    }
  }

  #report({ path }: Provable, { state, isHealed }: { state: string; isHealed: boolean }): void {
    this.#options.log.warn({ path, state, isHealed }, 'a photo is not on the second copy as it was stored')
    this.#options.onFinding(isHealed)
  }

  async #nextDue(): Promise<number> {
    const now = this.#now()
    if (this.#postponed.size > 0) return now + RETRY_MS
    const { place, library } = this.#mirror
    if (await isTroubled(library.db, place)) return now
    const oldest = await findOldestProof(library.db, place, new Date(now))
    const due = oldest === undefined ? Number.POSITIVE_INFINITY : dueAt(oldest, this.#rules)
    return Math.min(horizon(now, this.#rules), Math.max(due, now + 1_000))
  }

  #now(): number {
    return this.#mirror.library.now().getTime()
  }
}
