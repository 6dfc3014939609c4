import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { batched } from '../../src/catalogue/batch.ts'
import { AppError } from '../../src/errors.ts'

/** A batch that doubles numbers and remembers what it was given; numbers in `poison` make it fail. */
function doubling(poison: ReadonlyMap<number, Error> = new Map(), maxItems?: number) {
  const batches: number[][] = []
  const double = batched(async (items: readonly number[]) => {
    batches.push([...items])
    await setImmediate()
    for (const item of items) {
      const error = poison.get(item)
      if (error !== undefined) throw error
    }
    return items.map((item) => item * 2)
  }, maxItems)
  return { double, batches }
}

const numbers = (count: number) => Array.from({ length: count }, (_, index) => index)

it('a lone call waits for nobody', async () => {
  const { double, batches } = doubling()
  expect(await double(21)).toBe(42)
  expect(batches).toEqual([[21]])
})

it('calls that come while a batch is under way go together, each to its own result', async () => {
  const { double, batches } = doubling()
  expect(await Promise.all(numbers(50).map(double))).toEqual(numbers(50).map((number) => number * 2))
  expect(batches).toEqual([[0], numbers(50).slice(1)])
})

it('a batch holds no more than it may, and the rest follows in order', async () => {
  const { double, batches } = doubling(new Map(), 10)
  await Promise.all(numbers(25).map(double))
  expect(batches.map((batch) => batch.length)).toEqual([1, 10, 10, 4])
  expect(batches.flat()).toEqual(numbers(25))
})

it('an item that nobody can process fails alone', async () => {
  const { double } = doubling(new Map([[3, new Error('poison')]]))
  const results = await Promise.allSettled(numbers(6).map(double))
  expect(results.map(({ status }) => status === 'fulfilled')).toEqual([true, true, true, false, true, true])
  expect(results[3]).toMatchObject({ reason: new Error('poison') })
  expect(results[5]).toMatchObject({ value: 10 })
})

it('when the database is away all of a batch hear it after one try, and later calls try anew', async () => {
  const poison = new Map([[3, new AppError('database_unavailable', 'It is away.')]])
  const { double, batches } = doubling(poison)
  const results = await Promise.allSettled(numbers(6).map(double))
  expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(5)
  expect(batches).toHaveLength(2)
  poison.clear()
  expect(await double(3)).toBe(6)
})

it('a batch that gives too few results is an error for all, not a wait for ever', async () => {
  const broken = batched(async (items: readonly number[]) => items.slice(1))
  await expect(broken(1)).rejects.toThrow('1 gave 0')
})
