import { expect, it } from 'vitest'
import { Backoff } from '../../src/base/backoff.ts'

it('waits twice as long after each failure in a row, up to a bound', () => {
  const backoff = new Backoff(10, 35)
  expect([1, 2, 3, 4].map(() => backoff.failed().waitMs)).toEqual([10, 20, 35, 35])
  expect(backoff.succeeded()).toBe(true)
  expect(backoff.failed().waitMs).toBe(10)
})

it('each reason is news once in a row, and so is the end', () => {
  const backoff = new Backoff(10)
  expect(backoff.succeeded()).toBe(false)
  expect(['away', 'away', 'full', 'away'].map((reason) => backoff.failed(reason).isNews)).toEqual([
    true,
    false,
    true,
    true,
  ])
  expect(backoff.succeeded()).toBe(true)
  expect(backoff.isFailing).toBe(false)
  expect(backoff.failed('away').isNews).toBe(true)
})

it('does not wait longer for a new reason', () => {
  const backoff = new Backoff(10, 100)
  expect(['away', 'away', 'full', 'full'].map((reason) => backoff.failed(reason).waitMs)).toEqual([10, 20, 10, 20])
})
