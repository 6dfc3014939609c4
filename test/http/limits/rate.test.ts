import { expect, it } from 'vitest'
import { MIN_RATE, RATE_MS } from '../../../src/base/budgets.ts'
import { Rate } from '../../../src/http/limits/rate.ts'

/** Bytes a second that come every second from `from` on; returns whether that was enough until `to`. */
function runs(rate: Rate, bytes: number, from: number, to: number): boolean {
  for (let now = from + 1000; now <= to; now += 1000) if (!rate.isEnough(bytes, now)) return false
  return true
}

it('who goes on as fast as a bad connection may do so for ever, who trickles for some minutes', () => {
  expect(runs(new Rate(0), MIN_RATE, 0, 100 * RATE_MS)).toBe(true)
  expect(runs(new Rate(0), 1, 0, RATE_MS - 1000)).toBe(true)
  expect(runs(new Rate(0), MIN_RATE / 2, 0, RATE_MS)).toBe(false)
})

it('what came quickly at first is no credit for ever', () => {
  const rate = new Rate(0)
  expect(rate.isEnough(1e9, 1000)).toBe(true)
  expect(runs(rate, 1, 1000, 2 * RATE_MS)).toBe(false)
})

it('time in which the client was held back does not count', () => {
  const rate = new Rate(0)
  rate.isEnough(1, 1000)
  rate.excuse(RATE_MS)
  expect(rate.isEnough(1, RATE_MS + 2000)).toBe(true)
})
