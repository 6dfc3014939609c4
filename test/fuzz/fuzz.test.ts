import { readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { describe, expect, inject, it } from 'vitest'
import { rounds } from '../support/rounds.ts'
import { save } from './failures.ts'
import { fuzz, shorten } from './fuzz.ts'
import type { Target } from './target.ts'
import { TARGETS } from './targets.ts'

const root = join(import.meta.dirname, '..', '..')
const corpora = join(import.meta.dirname, 'corpus')

describe('whatever is made from the corpus', () => {
  it.each(TARGETS)('breaks nothing that must hold of $name', async (target) => {
    const executions = rounds(target.inTests)
    const { failure } = await fuzz({ target, corpora, seed: inject('seed'), executions })
    if (failure !== undefined) await tell(target, failure.input, failure.error)
  })
})

async function tell(target: Target, input: Buffer, error: unknown): Promise<never> {
  const path = save(join(root, 'fuzz-failures'), target.name, await shorten(target, input))
  throw new Error(`${String(error)}\nnpm run fuzz -- ${target.name} ${relative(root, path)} repeats it.`, {
    cause: error,
  })
}

describe('a corpus', () => {
  it('is there for each of what is attacked, and for nothing else', () => {
    expect(readdirSync(corpora).sort()).toEqual(TARGETS.map(({ name }) => name).sort())
  })
})
