import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { AT_MOST_MS, PATIENCE_MS } from './budgets.ts'

const LOOK_MS = 50

/**
 * Lets uploads go first, though not for ever: somebody may have one that never ends. Work in the background rests while
 * they go on, for a minute; from then on it rests a second before each piece of work, until it has been quiet again.
 */
export class Patience {
  readonly #isBusy: () => boolean
  readonly #patienceMs: number
  readonly #atMostMs: number
  #busySince: number | undefined

  /** `patienceMs`: how long it rests at first; `atMostMs`: how long before each piece of work afterwards. */
  constructor(isBusy: () => boolean, { patienceMs = PATIENCE_MS, atMostMs = AT_MOST_MS } = {}) {
    this.#isBusy = isBusy
    this.#patienceMs = patienceMs
    this.#atMostMs = atMostMs
  }

  /**
   * To be awaited before each piece of work: lets all else that waits have its turn, in any case. Calls `letGo` before
   * it rests. Throws when the signal comes.
   */
  async giveWay(signal: AbortSignal, letGo?: () => Promise<void>): Promise<void> {
    signal.throwIfAborted()
    await setImmediate()
    if (this.#isQuiet()) return
    await letGo?.()
    const now = performance.now()
    this.#busySince ??= now
    const until = Math.max(this.#busySince + this.#patienceMs, now + this.#atMostMs)
    while (performance.now() < until && !this.#isQuiet()) await sleep(LOOK_MS, undefined, { signal })
  }

  #isQuiet(): boolean {
    if (this.#isBusy()) return false
    this.#busySince = undefined
    return true
  }
}
