import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Drive } from '../../src/storage/drive.ts'
import { hasherFor, measureSpeed } from '../../src/storage/hashing/choose-hasher.ts'
import { HashThread } from '../../src/storage/hashing/hash-thread.ts'
import { type Hasher, hashHere } from '../../src/storage/hashing/hasher.ts'
import { Space } from '../../src/storage/space.ts'
import { StagedFile } from '../../src/storage/staging.ts'
import { stagedIn } from '../support/drives.ts'
import { openLibrary } from '../support/library.ts'
import { noise } from '../support/media.ts'
import { fc } from '../support/property.ts'
import { rounds } from '../support/rounds.ts'
import { makeFolder, removeFolder } from '../support/server.ts'

const MB = 1024 * 1024

const thread = new HashThread()
afterAll(() => thread.close())

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** Hashes the pieces, each with memory of its own that is written over as soon as that is allowed. */
async function hash(hasher: Hasher, pieces: readonly Buffer[], pause = async () => {}): Promise<string> {
  const hashing = hasher.begin()
  for (const piece of pieces.slice(0, -1)) {
    const taken = Buffer.from(piece)
    await hashing.update([taken.subarray(0, 1000), taken.subarray(1000)])
    taken.fill(0)
    await pause()
  }
  return hashing.digest(pieces.slice(-1))
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

describe.each<[string, Hasher]>([
  ['on the thread that asks', hashHere],
  ['in a thread of its own', thread],
])('SHA-256 %s', (_where, hasher) => {
  it('is right for files of all sizes that come at once, of which some break off', async () => {
    const sizes = fc.array(fc.oneof(fc.nat(300_000), fc.nat(3 * MB)), { maxLength: 5 })
    const upload = fc.record({ sizes, breaksOff: fc.boolean(), turns: fc.nat(3) })
    await fc.assert(
      fc.asyncProperty(fc.array(upload, { maxLength: 12 }), async (uploads) => {
        await Promise.all(
          uploads.map(async ({ sizes, breaksOff, turns }, index) => {
            const pieces = sizes.map((size, part) => noise(size, `${index} ${part}`))
            const pause = async () => {
              for (let n = 0; n < turns; n++) await turn()
            }
            if (!breaksOff) {
              expect(await hash(hasher, pieces, pause)).toBe(sha256(Buffer.concat(pieces)))
              return
            }
            const hashing = hasher.begin()
            for (const piece of pieces) await hashing.update([piece])
            hashing.abandon()
            hashing.abandon()
          }),
        )
      }),
      {
        numRuns: rounds(20),
        examples: [[[{ sizes: [], breaksOff: false, turns: 0 }]], [[{ sizes: [MB, MB], breaksOff: false, turns: 0 }]]],
      },
    )
  })
})

it('a hundred that have begun and stall keep nothing from one that goes on', async () => {
  const stalled = Array.from({ length: 100 }, () => thread.begin())
  for (const hashing of stalled) await hashing.update([Buffer.alloc(200_000)])
  const pieces = Array.from({ length: 20 }, (_, part) => noise(MB, part))
  expect(await hash(thread, pieces)).toBe(sha256(Buffer.concat(pieces)))
  for (const hashing of stalled) {
    expect(await hashing.digest([])).toBe(sha256(Buffer.alloc(200_000)))
  }
})

it('bytes that wait for their turn are not copied: what all take together is bounded', async () => {
  const piece = noise(MB, 'shared')
  await hash(thread, [piece])
  const before = process.memoryUsage()
  let most = 0
  await Promise.all(
    Array.from({ length: 64 }, async () => {
      const hashing = thread.begin()
      for (let part = 0; part < 8; part++) {
        await hashing.update([piece])
        const { arrayBuffers, external } = process.memoryUsage()
        most = Math.max(most, arrayBuffers + external - before.arrayBuffers - before.external)
      }
      expect(await hashing.digest([])).toBe(sha256(Buffer.concat(Array.from({ length: 8 }, () => piece))))
    }),
  )
  expect(most).toBeLessThan(4 * MB)
})

it('when its thread dies, what it was hashing fails, what is small does not, and the next one is right', async () => {
  const hasher = new HashThread()
  const bytes = noise(3 * MB, 'again')
  const [begun, digesting, untouched] = [hasher.begin(), hasher.begin(), hasher.begin()]
  await begun.update([bytes])
  // More than the ring holds: some of them wait for their turn.
  const waiting = Array.from({ length: 10 }, () => hasher.begin().update([bytes]))
  const digest = digesting.digest([bytes])
  const outcomes = Promise.allSettled([digest, ...waiting])
  await hasher.close()
  const failures = (await outcomes).filter(({ status }) => status === 'rejected')
  expect(failures.length).toBeGreaterThan(0)
  for (const failure of failures) expect(failure).toMatchObject({ reason: { code: 'hashing_failed' } })
  await expect(begun.update([bytes])).rejects.toMatchObject({ code: 'hashing_failed' })
  await expect(begun.digest([bytes])).rejects.toMatchObject({ code: 'hashing_failed' })
  begun.abandon()

  expect(await untouched.digest([Buffer.from('small')])).toBe(sha256(Buffer.from('small')))
  expect(await hash(hasher, [bytes, bytes])).toBe(sha256(Buffer.concat([bytes, bytes])))
  await hasher.close()
})

it('the thread does nothing that it was not given, also when it is woken for what it has done already', async () => {
  const control = new Int32Array(new SharedArrayBuffer(4 * 7))
  const [bytes, digests] = [new SharedArrayBuffer(1000), new SharedArrayBuffer(32)]
  const worker = new Worker(new URL('../../src/storage/hashing/hash-worker.js', import.meta.url), {
    workerData: { control, bytes, digests, slots: 1, slotBytes: 1000 },
  })
  const [submitted, completed, jobs] = [0, 1, 2]
  const givesUp = Date.now() + 60_000
  for (let woken = 0; woken < 3; ) {
    expect(Date.now()).toBeLessThan(givesUp)
    woken += Atomics.notify(control, submitted)
    await turn()
  }
  expect(Atomics.load(control, completed)).toBe(0)

  const digest = 1
  control.set([7, 1000, digest], jobs)
  Atomics.store(control, submitted, 1)
  Atomics.notify(control, submitted)
  const isDone = Atomics.waitAsync(control, completed, 0)
  if (isDone.async) await isDone.value
  expect(Buffer.from(digests).toString('hex')).toBe(sha256(Buffer.alloc(1000)))
  expect(Atomics.load(control, completed)).toBe(1)
  await worker.terminate()
})

it('is computed on the thread that asks where that is fast, or where there is no second processor', () => {
  expect(hasherFor(1900, 2)).toBe(hashHere)
  expect(hasherFor(400, 1)).toBe(hashHere)
  expect(hasherFor(400, 2)).toBeInstanceOf(HashThread)
  expect(measureSpeed()).toBeGreaterThan(1)
})

describe('a staged file', () => {
  let root: string
  let drive: Drive
  let space: Space
  beforeAll(async () => {
    root = await makeFolder()
    drive = (await openLibrary(root)).drive
    space = new Space(drive, 0)
  })
  afterAll(() => removeFolder(root))

  it.each(['on the spot', 'in the thread'])(
    'is whole and has the right checksum, computed %s, while others come and break off',
    async (where) => {
      const hasher = where === 'on the spot' ? hashHere : thread
      const size = fc.oneof(fc.nat(200_000), fc.nat(5 * MB))
      const upload = fc.record({ size, piece: fc.integer({ min: 10_000, max: 700_000 }), breaksOff: fc.boolean() })
      await fc.assert(
        fc.asyncProperty(fc.array(upload, { maxLength: 6 }), async (uploads) => {
          await Promise.all(
            uploads.map(async ({ size, piece, breaksOff }, index) => {
              const bytes = noise(size, index)
              const file = new StagedFile(drive, await space.reserve(0), hasher)
              for (let at = 0; at < size; at += piece) {
                file.write(bytes.subarray(at, at + piece))
                if (file.isFull) await file.drained()
                else await turn()
              }
              if (!breaksOff) {
                const staged = await file.finish()
                expect(staged.checksum).toBe(sha256(bytes))
                await staged.durable
                expect((await readFile(drive.resolve(staged.path))).equals(bytes)).toBe(true)
              }
              await file.discard()
            }),
          )
          expect(await stagedIn(root)).toEqual([])
        }),
        { numRuns: rounds(15) },
      )
    },
  )

  it('fails when the thread dies before its checksum is known, and leaves nothing', async () => {
    const hasher = new HashThread()
    const send = async (file: StagedFile) => {
      for (let part = 0; part < 24; part++) {
        file.write(noise(MB / 2, part))
        if (file.isFull) await file.drained()
      }
    }
    const file = new StagedFile(drive, await space.reserve(0), hasher)
    await send(file)
    await hasher.close()
    await expect(file.finish()).rejects.toMatchObject({ code: 'hashing_failed' })
    await file.discard()
    expect(await stagedIn(root)).toEqual([])

    const again = new StagedFile(drive, await space.reserve(0), hasher)
    await send(again)
    const { checksum } = await again.finish()
    expect(checksum).toBe(sha256(Buffer.concat(Array.from({ length: 24 }, (_, part) => noise(MB / 2, part)))))
    await again.discard()
    await hasher.close()
  })
})
