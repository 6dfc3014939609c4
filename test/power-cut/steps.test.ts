import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { originalsIn } from '../support/drives.ts'
import { needs } from '../support/needs.ts'
import { randomFor } from '../support/rounds.ts'
import { cuttable, type Disk, makeDisk } from './disk.ts'
import { type Fault, type Faults, makeFaults, untilHalted } from './faults.ts'
import { findLosses } from './losses.ts'
import { Machine } from './machine.ts'
import { type Asset, Phones } from './phones.ts'

const STAGED = '/\\.iclood/incoming/[^/]+\\.part$'
const YEAR = '/photos/\\d{4}$'
const MONTH = '/photos/\\d{4}/\\d\\d$'
/** In years of their own, so that each upload makes its folders. */
let year = 2000

/** What the drive has of the photo after the cut: nothing, perhaps all of it, all of it. Never a part. */
type Left = 'nothing' | 'perhaps' | 'everything'

interface Step {
  fault: Fault
  left: Left
}

/** As in docs/design.md, "An upload, step by step": the power is cut when the step is done, and the next one not. */
const STEPS: Record<string, Step> = {
  '1 admit': { fault: { call: 'open', path: STAGED, does: 'halt before' }, left: 'nothing' },
  '2 stage, in part': { fault: { call: 'writev', path: STAGED, does: 'halt after' }, left: 'nothing' },
  '2 stage': { fault: { call: 'fdatasync', path: STAGED, does: 'halt before' }, left: 'nothing' },
  '3 flush': { fault: { call: 'fdatasync', path: STAGED, does: 'halt after' }, left: 'nothing' },
  '4 look up, 5 decide': { fault: { call: 'mkdir', path: YEAR, does: 'halt before' }, left: 'nothing' },
  '6 folder, the year': { fault: { call: 'mkdir', path: YEAR, does: 'halt after' }, left: 'nothing' },
  '6 folder': { fault: { call: 'mkdir', path: MONTH, does: 'halt after' }, left: 'nothing' },
  '7 name': { fault: { call: 'link', path: '/IMG_1000.JPG$', does: 'halt after' }, left: 'perhaps' },
  '8 flush, the month': { fault: { call: 'fsync', path: MONTH, does: 'halt after' }, left: 'perhaps' },
  '8 flush, the year': { fault: { call: 'fsync', path: YEAR, does: 'halt after' }, left: 'perhaps' },
  '8 flush': { fault: { call: 'fsync', path: '/photos$', does: 'halt after' }, left: 'everything' },
}

describe('a power cut after step', needs(cuttable('ext4')), () => {
  const random = randomFor('steps')
  const phones = new Phones(random)
  let disk: Disk
  let faults: Faults
  let machine: Machine

  beforeAll(async () => {
    disk = await makeDisk('ext4')
    faults = makeFaults(disk.beside)
    machine = new Machine(disk)
    const server = await machine.start(faults.env)
    phones.takePictures()
    await phones.sendAll(server, () => false)
  })
  afterAll(() => disk?.remove())

  /** Sends `asset`, cuts the power at the fault, or without one after the answer, and starts again. */
  async function cutWhileSending(asset: Asset, fault?: Fault): Promise<void> {
    const { server } = machine
    await phones.offerAll(server)
    if (fault !== undefined) await faults.arm(fault)
    const sending = phones.send(server, asset)
    await (fault === undefined ? sending : untilHalted(server))
    await machine.cut()
    await sending
    await faults.disarm()
    await machine.restore()
    await machine.start(faults.env)
  }

  const takeOne = () => phones.takeOne(year++, 3_000_000)
  const pathOf = (asset: Asset) => `${new Date(asset.created).getUTCFullYear()}/05/${asset.name}`
  const isWanted = async (asset: Asset) => (await phones.offerAll(machine.server)).includes(asset)
  const isThere = async (asset: Asset) => (await originalsIn(machine.server.library)).includes(pathOf(asset))

  it.each(Object.entries(STEPS))(
    '%s: the photo is asked for again, and stored once',
    async (_step, { fault, left }) => {
      const asset = takeOne()
      await cutWhileSending(asset, fault)
      expect(phones.acknowledged.has(asset)).toBe(false)
      expect(await findLosses(machine, phones, random)).toEqual([])
      if (left !== 'perhaps') expect(await isThere(asset)).toBe(left === 'everything')
      expect(await isWanted(asset)).toBe(true)

      await phones.send(machine.server, asset)
      // Stored once more, it would have another name.
      expect(phones.acknowledged.get(asset)).toBe(pathOf(asset))
    },
  )

  it('5 decide, of bytes that are on the drive already: they are known under both names', async () => {
    const asset = takeOne()
    await phones.send(machine.server, asset)
    const copy = phones.share(asset, 'iPhone 8')
    await cutWhileSending(copy, { call: 'answer', path: '200 /photos/upload', does: 'halt before' })
    expect(await isWanted(copy)).toBe(false)
    phones.acknowledged.set(copy, pathOf(copy))
    expect(await findLosses(machine, phones, random)).toEqual([])
  })

  it('9 record: the photo is there and known, though its phone was not told', async () => {
    const asset = takeOne()
    await cutWhileSending(asset, { call: 'answer', path: '201 /photos/upload', does: 'halt before' })
    expect(phones.acknowledged.has(asset)).toBe(false)
    expect(await isWanted(asset)).toBe(false)
    expect(await isThere(asset)).toBe(true)
    phones.acknowledged.set(asset, pathOf(asset))
    expect(await findLosses(machine, phones, random)).toEqual([])
  })

  it('10 answer: the photo is there and known', async () => {
    const asset = takeOne()
    await cutWhileSending(asset)
    expect(phones.acknowledged.get(asset)).toBe(pathOf(asset))
    expect(await findLosses(machine, phones, random)).toEqual([])
  })
})
