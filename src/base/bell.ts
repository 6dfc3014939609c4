import { setTimeout } from 'node:timers/promises'
import { withResolvers } from './resolvers.ts'

/** What a timer takes; a longer wait ends there. */
const LONGEST_MS = 2 ** 31 - 1

/** Waits for `ms`, or until the signal. Keeps no process alive. */
export async function rest(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await setTimeout(Math.min(Math.max(0, ms), LONGEST_MS), undefined, { signal, ref: false })
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

/** Wakes one loop that has nothing to do. Whoever has something for it rings, whether it sleeps or not. */
export class Bell {
  #rung = withResolvers<true>()

  ring(): void {
    this.#rung.resolve(true)
  }

  /** What has rung was heard: the loop looks at everything from now on. */
  silence(): void {
    this.#rung = withResolvers()
  }

  /** Returns true when it rings, or has rung since `silence`; false after `ms`, or on the signal. */
  async wait(ms: number, signal: AbortSignal): Promise<boolean> {
    const over = new AbortController()
    const end = () => over.abort()
    signal.addEventListener('abort', end, { once: true })
    if (signal.aborted) end()
    try {
      return await Promise.race([this.#rung.promise, rest(ms, over.signal).then(() => false)])
    } finally {
      signal.removeEventListener('abort', end)
      end()
    }
  }
}
