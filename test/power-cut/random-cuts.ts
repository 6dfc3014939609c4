import { setTimeout } from 'node:timers/promises'
import { expect, inject } from 'vitest'
import { randomFor } from '../support/rounds.ts'
import { type Kind, makeDisk } from './disk.ts'
import { findLosses } from './losses.ts'
import { Machine } from './machine.ts'
import { Phones } from './phones.ts'

/** A start takes about this long, in ms: a cut at a random moment of it hits most of what it does. */
const START_MS = 1_500 * inject('slowness')
/** From one file of a phone to its next, in ms. */
const SOON_MS = 40
/** Till what follows an answer in the background has been done, in ms. */
const LATER_MS = 4_000

/**
 * Cuts the power `cuts` times at random moments, again and again on the same disk, which has library and database:
 * during the first start of all, while several phones send or soon after, now and then during the start after a cut.
 * After each the server is started again, and nothing may be lost.
 */
export async function cutAtRandom(kind: Kind, cuts: number): Promise<void> {
  const random = randomFor(kind)
  const disk = await makeDisk(kind)
  const machine = new Machine(disk)
  const phones = new Phones(random)

  await machine.cutDuringStart(random() * 2 * START_MS)
  for (let cut = 1; ; cut++) {
    const isDuringStart = cut < cuts && random() < 0.2
    await machine.restore()
    if (isDuringStart) {
      await machine.cutDuringStart(random() * START_MS)
      continue
    }
    await machine.start()
    expect(await findLosses(machine, phones, random), `after cut ${cut} of ${cuts} on ${kind}`).toEqual([])
    if (cut === cuts) break
    await cutUnderLoad(machine, phones, random)
  }

  // Whatever happened to the first ones: sent again, each is there once.
  await phones.sendAll(machine.server, () => false)
  expect(await findLosses(machine, phones, random)).toEqual([])
  expect(new Set(phones.acknowledged.values()).size).toBe(new Set(phones.taken.map(({ checksum }) => checksum)).size)
  expect(await machine.stop()).toBe(0)
  await disk.remove()
}

/** Has the phones send, and cuts after some of it. */
async function cutUnderLoad(machine: Machine, phones: Phones, random: () => number): Promise<void> {
  const { server } = machine
  phones.takePictures()
  await phones.offerAll(server)
  const before = phones.acknowledged.size
  const enough = Math.floor(random() * phones.unacknowledged().length)
  const gap = random() < 0.7 ? random() * SOON_MS : random() * LATER_MS

  let isOver = false
  const sending = phones
    .sendAll(server, () => isOver)
    .finally(() => {
      isOver = true
    })
  // What went wrong is heard of at its end.
  sending.catch(() => {})
  while (!isOver && phones.acknowledged.size - before < enough) await setTimeout(1)
  await setTimeout(gap)
  isOver = true
  await machine.cut()
  await sending
}
