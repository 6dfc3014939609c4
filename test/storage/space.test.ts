import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AppError } from '../../src/errors.ts'
import type { Drive } from '../../src/storage/drive.ts'
import { diskUsage, Space } from '../../src/storage/space.ts'
import { drive as driveNeeds, makeDrive, type TestDrive } from '../support/drives.ts'
import { openLibrary } from '../support/library.ts'
import { needs } from '../support/needs.ts'
import { fc } from '../support/property.ts'
import { rounds } from '../support/rounds.ts'

const MB = 1024 * 1024

describe('the space of a drive', needs(driveNeeds('tmpfs')), () => {
  let disk: TestDrive
  let drive: Drive
  beforeAll(async () => {
    disk = await makeDrive('tmpfs', 32 * MB)
    drive = (await openLibrary(disk.path)).drive
  })
  afterAll(() => disk.remove())

  it('is never promised twice, whoever asks at the same moment', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(36 * MB), { maxLength: 12 }), async (wishes) => {
        const space = new Space(drive, 4 * MB)
        const { free } = await diskUsage(drive)
        const answers = await Promise.all(
          wishes.map((bytes) =>
            space.reserve(bytes).then(
              () => bytes,
              (error: unknown) => error,
            ),
          ),
        )
        const promised = answers.filter((answer) => typeof answer === 'number').reduce((sum, bytes) => sum + bytes, 0)
        expect(promised).toBeLessThanOrEqual(free - 4 * MB)
        for (const [index, answer] of answers.entries()) {
          if (typeof answer === 'number') continue
          const isFull = (wishes[index] ?? 0) > free - 4 * MB
          expect(answer).toMatchObject({ code: isFull ? 'disk_full' : 'space_promised' })
          expect((answer as AppError).message).toContain(`${wishes[index]} bytes`)
        }
      }),
      { numRuns: rounds(50) },
    )
  })

  it('is given back once, however often it is released', async () => {
    const space = new Space(drive, 0)
    const { free } = await diskUsage(drive)
    const first = await space.reserve(free)
    await expect(space.reserve(1)).rejects.toBeInstanceOf(AppError)
    first.release()
    first.release()
    const second = await space.reserve(free)
    await expect(space.reserve(1)).rejects.toBeInstanceOf(AppError)
    second.release()
  })

  it('is promised to who only says that much will come as it comes: nobody is kept out by an idle connection', async () => {
    const large = await makeDrive('tmpfs', 400 * MB)
    try {
      const there = (await openLibrary(large.path)).drive
      const space = new Space(there, 0)
      const { free } = await diskUsage(there)
      const idle = await space.reserve(free - MB, 'guest')
      const phone = await space.reserve(free - 64 * MB - MB, 'phone')
      phone.release()
      // As it comes, the next 64 MB are.
      idle.used(100 * MB)
      await expect(space.reserve(free - 63 * MB, 'phone')).rejects.toMatchObject({ code: 'space_promised' })
      idle.release()
    } finally {
      await large.remove()
    }
  })

  it('is promised to a small photo beside a long film of the same holder, where it fits', async () => {
    const space = new Space(drive, 0)
    const { free } = await diskUsage(drive)
    const film = await space.reserve(Math.floor(free * 0.7), 'phone')
    const photo = await space.reserve(MB, 'phone')
    await expect(space.reserve(Math.floor(free * 0.2), 'phone')).rejects.toMatchObject({ code: 'space_promised' })
    for (const reservation of [film, photo]) reservation.release()
    const all = await space.reserve(free, 'phone')
    all.release()
  })

  it('is promised to one holder up to half beside the largest that he has, and the last room to who has nothing yet', async () => {
    const space = new Space(drive, 0)
    const { free } = await diskUsage(drive)
    const quarter = Math.floor(free / 4)
    const first = await space.reserve(quarter, 'guest')
    const second = await space.reserve(quarter, 'guest')
    await expect(space.reserve(quarter, 'guest')).rejects.toMatchObject({ code: 'space_promised' })
    const phone = await space.reserve(2 * quarter, 'phone')
    for (const reservation of [first, second, phone]) reservation.release()
    const all = await space.reserve(free, 'guest')
    all.release()
  })
})
