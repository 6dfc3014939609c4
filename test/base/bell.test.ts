import { expect, it } from 'vitest'
import { Bell, rest } from '../../src/base/bell.ts'

const forever = Number.POSITIVE_INFINITY
const never = new AbortController().signal

it('a bell wakes who waits, and who comes after it has rung, until it was heard', async () => {
  const bell = new Bell()
  const waiting = bell.wait(forever, never)
  bell.ring()
  expect(await waiting).toBe(true)
  expect(await bell.wait(forever, never)).toBe(true)
  bell.silence()
  expect(await bell.wait(0, never)).toBe(false)
})

it('the end of the time, or the signal, ends the waiting as well', async () => {
  const bell = new Bell()
  const ending = new AbortController()
  const waiting = [bell.wait(forever, ending.signal), rest(forever, ending.signal)]
  ending.abort()
  expect(await Promise.all(waiting)).toEqual([false, undefined])
  expect(await bell.wait(forever, ending.signal)).toBe(false)
  expect(await bell.wait(-1, never)).toBe(false)
})
