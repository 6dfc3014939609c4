import { expect, it } from 'vitest'
import { Patience } from '../../src/base/patience.ts'

const going = new AbortController().signal

it('rests a while at first, then a little before each piece, and not at all once it is quiet', async () => {
  let isBusy = true
  let rests = 0
  const letGo = async () => {
    rests++
  }
  const patience = new Patience(() => isBusy, { patienceMs: 400, atMostMs: 20 })
  const timed = async () => {
    const began = performance.now()
    await patience.giveWay(going, letGo)
    return performance.now() - began
  }
  expect(await timed()).toBeGreaterThanOrEqual(390)
  for (let piece = 0; piece < 3; piece++) await timed()
  expect(rests).toBe(4)
  isBusy = false
  await patience.giveWay(going, letGo)
  expect(rests).toBe(4)
  // What comes after that is given the whole time again.
  isBusy = true
  expect(await timed()).toBeGreaterThanOrEqual(390)
})

it('ends its rest when uploads do, and throws at the end of all', async () => {
  let looks = 0
  const patience = new Patience(() => ++looks < 3, { patienceMs: 3_600_000 })
  await patience.giveWay(going)
  expect(looks).toBe(3)
  await expect(new Patience(() => true).giveWay(AbortSignal.abort())).rejects.toThrow()
})
