import { createHash, timingSafeEqual } from 'node:crypto'
import { WRONG_TOKENS, WRONG_TOKENS_ANSWERED } from '../../base/budgets.ts'
import { HOUR_MS } from '../../base/clock.ts'
import { AppError } from '../../errors.ts'

/** Who has sent wrong tokens lately, or the right one; of more, those are forgotten that were heard of longest ago. */
const REMEMBERED = 10_000

const FOR_HOME =
  'This server is open to its home network only; from elsewhere send its access token as "Authorization: Bearer <token>".'

/**
 * Judges the access tokens that come from outside. Digests make the comparison take the same time whatever was sent.
 * Whoever sends many wrong ones is told to wait, while the right one still passes; beyond a second bound his tokens are
 * not compared any more, so that guessing comes to nothing. Who has sent the right one is not held up by what others
 * send.
 */
export class TokenJudge {
  readonly #expected: Buffer | undefined
  readonly #now: () => number
  readonly #all: Draining
  /** By subscriber, the one heard of longest ago first. */
  readonly #each = new Map<string, Draining>()
  readonly #proven = new Set<string>()

  /** `token` may be empty: then nobody is let in. `now` is in ms. */
  constructor(token: string | undefined, now: () => number = () => performance.now()) {
    this.#expected = token ? digest(token) : undefined
    this.#now = now
    this.#all = new Draining(WRONG_TOKENS.all, now)
  }

  /**
   * Returns if `authorization` holds the access token; throws `unauthorized`, saying `refusal`, and `too_many_guesses`.
   * `subscriber` is who has sent it.
   */
  check(authorization: string | undefined, subscriber: string, refusal = FOR_HOME): void {
    const sent = /^bearer +(\S+) *$/i.exec(authorization ?? '')?.[1]
    if (this.#expected === undefined || sent === undefined) throw new AppError('unauthorized', refusal)
    const wrong = this.#each.get(subscriber) ?? new Draining(WRONG_TOKENS.each, this.#now)
    const isCompared = !wrong.isFull && (!this.#all.isFull || this.#proven.has(subscriber))
    if (isCompared && timingSafeEqual(digest(sent), this.#expected)) {
      remember(this.#proven, subscriber, () => this.#proven.add(subscriber))
      return
    }
    if (isCompared) {
      wrong.add()
      this.#all.add()
      remember(this.#each, subscriber, () => this.#each.set(subscriber, wrong))
    }
    throw isCompared && wrong.level <= WRONG_TOKENS_ANSWERED
      ? new AppError('unauthorized', refusal)
      : tooMany(subscriber)
  }
}

/** A number that goes down to 0 by itself, within an hour from its bound. */
class Draining {
  readonly #bound: number
  readonly #now: () => number
  #level = 0
  #at: number

  constructor(bound: number, now: () => number) {
    this.#bound = bound
    this.#now = now
    this.#at = now()
  }

  get level(): number {
    const now = this.#now()
    this.#level = Math.max(0, this.#level - ((now - this.#at) / HOUR_MS) * this.#bound)
    this.#at = now
    return this.#level
  }

  get isFull(): boolean {
    return this.level + 1 > this.#bound
  }

  add(): void {
    this.#level = this.level + 1
  }
}

function remember(known: Set<string> | Map<string, unknown>, key: string, add: () => void): void {
  known.delete(key)
  add()
  for (const oldest of known.keys()) {
    if (known.size <= REMEMBERED) break
    known.delete(oldest)
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function tooMany(subscriber: string): AppError {
  return new AppError(
    'too_many_guesses',
    `Too many wrong access tokens have come from ${subscriber}, or in all. Wait a minute, and send the one that ACCESS_TOKEN sets.`,
  )
}
