import { createHash } from 'node:crypto'

/** What all choices of the power cuts follow from; `POWER_CUT_SEED` repeats those of an earlier run. */
export const seed = process.env['POWER_CUT_SEED'] ?? String(Date.now() % 1_000_000)

/** Returns a source of numbers from 0 to 1 that follow from the seed and from `purpose` alone. */
export function randomFor(purpose: string): () => number {
  let state = createHash('sha256').update(`${seed} ${purpose}`).digest().readUInt32LE()
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** Says on a line of the output what repeats this run. */
export function printSeed(what: string): void {
  console.log(`${what}: POWER_CUT_SEED=${seed}`)
}
