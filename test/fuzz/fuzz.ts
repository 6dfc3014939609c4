import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Coverage } from './coverage.ts'
import { MAX_INPUT_BYTES, Mutator } from './mutator.ts'
import { Random } from './random.ts'
import type { Target } from './target.ts'

/** What a run is made of: the same again does the same again, as long as V8 notices the same. */
export interface Run {
  target: Target
  /** The folder of corpora, in which `<target>` is this one's. */
  corpora: string
  seed: number
  executions: number
  /**
   * For how many executions it is watched what they reach, and what reaches something new becomes a source of others.
   */
  watched?: number
  /** Is told of each input before it is run. */
  onInput?: (input: Buffer) => void
}

export interface Outcome {
  executions: number
  /** How many inputs were made that reached something new. */
  reached: number
  failure?: { input: Buffer; error: unknown }
}

/** Runs the corpus as it is, then what is made from it; ends at the first failure. */
export async function fuzz({ target, corpora, seed, executions, watched = 0, onInput }: Run): Promise<Outcome> {
  const random = new Random(`${seed} ${target.name}`)
  const mutator = new Mutator(random, target.tokens)
  const sources = sourcesOf(target, corpora)
  const corpus = sources.length
  const outcome: Outcome = { executions: 0, reached: 0 }
  let coverage = watched > 0 ? new Coverage((url) => url.includes('/src/')) : undefined
  try {
    while (outcome.executions < executions) {
      const next = outcome.executions
      const original = next < corpus ? sources[next] : undefined
      const input = Buffer.from(original ?? mutator.mutate(random.one(sources), random.one(sources)))
      onInput?.(input)
      try {
        const pending = target.run(Buffer.from(input))
        if (pending !== undefined) await pending
      } catch (error) {
        return { ...outcome, failure: { input, error } }
      }
      outcome.executions++
      if (coverage?.hasGrown() && original === undefined) {
        sources.push(input)
        outcome.reached++
      }
      if (outcome.executions === watched) {
        coverage?.stop()
        coverage = undefined
      }
    }
    return outcome
  } finally {
    coverage?.stop()
  }
}

function sourcesOf(target: Target, corpora: string): Buffer[] {
  const folder = join(corpora, target.name)
  const files = readdirSync(folder).sort()
  const all = [...target.seeds, ...files.map((file) => readFileSync(join(folder, file)))]
  return all.map((bytes) => Buffer.from(bytes.subarray(0, MAX_INPUT_BYTES)))
}

/** Makes a failing input shorter for as long as it fails; with at most `attempts` executions. */
export async function shorten(target: Target, input: Buffer, attempts = 2000): Promise<Buffer> {
  let shortest = input
  let left = attempts
  for (let size = Math.ceil(input.length / 2); size >= 1 && left > 0; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < shortest.length && left > 0; left--) {
      const shorter = Buffer.concat([shortest.subarray(0, at), shortest.subarray(at + size)])
      if (await fails(target, shorter)) shortest = shorter
      else at += size
    }
  }
  return shortest
}

async function fails(target: Target, input: Buffer): Promise<boolean> {
  try {
    await target.run(Buffer.from(input))
    return false
  } catch {
    return true
  }
}
