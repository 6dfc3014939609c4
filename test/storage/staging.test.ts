import { createHash, randomUUID } from 'node:crypto'
import { readdir, readFile, readlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Drive } from '../../src/storage/drive.ts'
import { diskUsage, Space } from '../../src/storage/space.ts'
import { clearStaging, StagedFile } from '../../src/storage/staging.ts'
import { drive as driveNeeds, makeDrive, stagedIn } from '../support/drives.ts'
import { openLibrary } from '../support/library.ts'
import { noise } from '../support/media.ts'
import { needs } from '../support/needs.ts'
import { fc } from '../support/property.ts'
import { rounds } from '../support/rounds.ts'
import { makeFolder, removeFolder } from '../support/server.ts'

const MB = 1024 * 1024

let root: string
let drive: Drive
let space: Space
beforeAll(async () => {
  root = await makeFolder()
  drive = (await openLibrary(root)).drive
  space = new Space(drive, 0)
})
afterAll(() => removeFolder(root))

async function send(file: StagedFile, pieces: readonly Buffer[]): Promise<void> {
  for (const piece of pieces) {
    file.write(piece)
    if (file.isFull) await file.drained()
  }
}

it('keeps the bytes whole and in order, in pieces of any size, and reads them back', async () => {
  const pieces = fc.array(fc.nat(700_000), { maxLength: 12 })
  await fc.assert(
    fc.asyncProperty(pieces, fc.nat(3 * MB), async (sizes, at) => {
      const bytes = sizes.map((size, index) => noise(size, `${index}`))
      const whole = Buffer.concat(bytes)
      const file = new StagedFile(drive, await space.reserve(0))
      await send(file, bytes)
      const staged = await file.finish()
      const inspected = await staged.readAt(at, 1000)
      expect(Buffer.from(inspected).equals(whole.subarray(at, at + 1000))).toBe(true)
      await staged.durable
      expect(staged.size).toBe(whole.length)
      expect(staged.checksum).toBe(createHash('sha256').update(whole).digest('hex'))
      expect((await readFile(drive.resolve(staged.path))).equals(whole)).toBe(true)
      await file.discard()
      await file.discard()
      expect(await stagedIn(root)).toEqual([])
    }),
    { numRuns: rounds(15), examples: [[[0, 5, 0], 291_615]] },
  )
})

it('discarded at any moment, it leaves neither a file nor an open descriptor, and touches no other file', async () => {
  const kept = new StagedFile(drive, await space.reserve(0))
  const bytes = noise(8 * MB, 'kept')
  for (let round = 0; round < 32; round++) {
    const file = new StagedFile(drive, await space.reserve(0))
    for (let piece = 0; piece < 40; piece++) file.write(Buffer.alloc(64 * 1024, round))
    if (round % 2 === 1) file.finish().catch(() => {})
    for (let turn = 0; turn < round % 5; turn++) await new Promise(setImmediate)
    const discarding = file.discard()
    await send(kept, [bytes.subarray((round * MB) / 4, ((round + 1) * MB) / 4)])
    await discarding
  }
  const staged = await kept.finish()
  await staged.durable
  expect((await readFile(drive.resolve(staged.path))).equals(bytes)).toBe(true)
  await kept.discard()
  expect(await stagedIn(root)).toEqual([])
  const links = await Promise.all(
    (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
  )
  expect(links.filter((path) => path.startsWith(root))).toEqual([])
})

it('clearing removes what others have left, and nothing of what is under way', async () => {
  const file = new StagedFile(drive, await space.reserve(0))
  await send(file, [noise(2 * MB, 'under way')])
  await file.drained()
  await writeFile(join(root, `.iclood/incoming/${randomUUID()}.part`), 'left')
  expect(await clearStaging(drive)).toEqual({ files: 1, others: [] })
  const staged = await file.finish()
  await staged.durable
  expect((await readFile(drive.resolve(staged.path))).length).toBe(2 * MB)
  await file.discard()
})

describe('on a drive that is full', needs(driveNeeds('tmpfs')), () => {
  it('throws disk_full with both numbers, and gives everything back', async () => {
    const full = await makeDrive('tmpfs', 8 * MB)
    try {
      const { drive } = await openLibrary(full.path)
      const space = new Space(drive, 0)
      const reservation = await space.reserve(6 * MB)
      await writeFile(join(full.path, 'other'), Buffer.alloc(5 * MB))
      const file = new StagedFile(drive, reservation)
      const sending = send(
        file,
        Array.from({ length: 24 }, () => Buffer.alloc(256 * 1024)),
      )
      await expect(sending.then(async () => (await file.finish()).durable)).rejects.toMatchObject({
        code: 'disk_full',
        message: expect.stringMatching(/\d+ bytes are needed, \d+ are free/),
      })
      // The first failure is final.
      await expect(file.finish()).rejects.toMatchObject({ code: 'disk_full' })
      await file.discard()
      expect(await stagedIn(full.path)).toEqual([])
      const { free } = await diskUsage(drive)
      await (await space.reserve(free)).ensure(free)
    } finally {
      await full.remove()
    }
  })
})

it('the more uploads there are, the less each of them gathers before it waits for the drive', async () => {
  const files = await Promise.all(Array.from({ length: 64 }, async () => new StagedFile(drive, await space.reserve(0))))
  const [file] = files
  file?.write(noise(MB / 4, 'written'))
  expect(file?.isFull).toBe(false)
  file?.write(noise(MB / 4, 'gathered'))
  expect(file?.isFull).toBe(true)
  for (const each of files) await each.discard()
  expect(await stagedIn(root)).toEqual([])
})
