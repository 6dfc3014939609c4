import { createHash } from 'node:crypto'
import { inject } from 'vitest'

declare module 'vitest' {
  interface ProvidedContext {
    /** What all random choices of a run follow from; `SEED` repeats those of an earlier one. */
    seed: number
    /** How many times the usual number of rounds is run: `ROUNDS`. */
    rounds: number
  }
}

/** How often to do what gets better the longer it is done: `usual` times, or `ROUNDS` times as often. */
export function rounds(usual: number): number {
  return Math.max(1, Math.round(usual * inject('rounds')))
}

/** Returns a source of numbers from 0 to 1 that follow from the run's seed and from `purpose` alone. */
export function randomFor(purpose: string): () => number {
  let state = createHash('sha256')
    .update(`${inject('seed')} ${purpose}`)
    .digest()
    .readUInt32LE()
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
