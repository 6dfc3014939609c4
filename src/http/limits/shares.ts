import { parseAddress, subscriberOf } from '../../base/addresses.ts'
import type { Share } from '../../base/budgets.ts'

/** How many addresses' shares an IPv6 network has: a guest on one of its addresses leaves room for the phones there. */
const SHARES_PER_NETWORK = 2

/** What one request, or connection, has of a `Share`. */
export interface Holding {
  /** Takes `amount` more; returns false, and takes nothing, if the address or all together would have too much. */
  take(amount: number): boolean
  /**
   * Takes `amount` more as soon as there is room; resolves to false when `signal` comes first. `onMoved` hears whenever
   * something else of the address has been given back meanwhile: the line moves.
   */
  takeInTurn(amount: number, signal: AbortSignal, onMoved?: () => void): Promise<boolean>
  /** Gives everything back, but for `left`. Idempotent. */
  release(left?: number): void
}

interface Waiting {
  readonly holders: readonly string[]
  /** Takes what it wants if it can, and does not wait any more then. */
  tryAgain(): void
  onMoved(): void
}

/**
 * Shares something out among addresses. None has more than what it leaves for others: a few can't take everything among
 * them either, since each of them gets at most half of what is left.
 */
export class Shares {
  readonly #share: Share
  #taken = 0
  readonly #held = new Map<string, number>()
  /** Who waits, the oldest first. */
  readonly #waiting = new Set<Waiting>()

  constructor(share: Share) {
    this.#share = share
  }

  /** Begins with nothing. Without an `address` only all together are bounded. */
  open(address: string | undefined): Holding {
    const holders = address === undefined ? [] : holdersOf(address)
    let own = 0
    const take = (amount: number) => {
      const { all, each } = this.#share
      const free = all - this.#taken
      const fits = (holder: string, index: number) =>
        (this.#held.get(holder) ?? 0) + amount <= Math.min(free, index === 0 ? each : each * SHARES_PER_NETWORK)
      if (amount > free || !holders.every(fits)) return false
      this.#add(holders, amount)
      own += amount
      return true
    }
    return {
      take,
      takeInTurn: async (amount, signal, onMoved = () => {}) =>
        take(amount) || this.#wait(holders, () => take(amount), signal, onMoved),
      release: (left = 0) => {
        if (own <= left) return
        this.#add(holders, left - own)
        own = left
        for (const waiting of this.#waiting) {
          waiting.tryAgain()
          if (waiting.holders.some((holder) => holders.includes(holder))) waiting.onMoved()
        }
      },
    }
  }

  #wait(holders: readonly string[], take: () => boolean, signal: AbortSignal, onMoved: () => void): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (isTaken: boolean) => {
        this.#waiting.delete(waiting)
        signal.removeEventListener('abort', giveUp)
        resolve(isTaken)
      }
      const tryAgain = () => {
        if (take()) end(true)
      }
      const giveUp = () => end(false)
      const waiting: Waiting = { holders, tryAgain, onMoved }
      this.#waiting.add(waiting)
      signal.addEventListener('abort', giveUp)
      if (signal.aborted) giveUp()
    })
  }

  #add(holders: readonly string[], amount: number): void {
    this.#taken += amount
    for (const holder of holders) {
      const held = (this.#held.get(holder) ?? 0) + amount
      if (held > 0) this.#held.set(holder, held)
      else this.#held.delete(holder)
    }
  }
}

/** Whom everything is counted for last: the network of an address, or the address itself. */
export function lastHolder(address: string): string {
  return holdersOf(address).at(-1) ?? address
}

/** Who has to share: the address, and its subscriber's network if that is more. What is no address is one holder. */
function holdersOf(text: string): string[] {
  const address = parseAddress(text)
  return address === undefined ? [text] : [...new Set([address.toString(), subscriberOf(address)])]
}
