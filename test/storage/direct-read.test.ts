import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { constants, existsSync, openSync } from 'node:fs'
import { appendFile, mkdir, open, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { DirectReader, LongerFile } from '../../src/storage/direct-read.ts'
import type { Drive } from '../../src/storage/drive.ts'
import { io } from '../../src/storage/io.ts'
import { drive, makeDrive } from '../support/drives.ts'
import { type Faults, injectFaults, pathOf } from '../support/faults.ts'
import { openIn } from '../support/in-process.ts'
import { openLibrary } from '../support/library.ts'
import { noise } from '../support/media.ts'
import { command, needs } from '../support/needs.ts'
import { boundReads } from '../support/reads.ts'
import { makeFolder, removeFolder } from '../support/server.ts'

const run = promisify(execFile)
const KB = 1024
const MB = 1024 * KB
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** Where blocks, chunks and the buffers of a file begin and end. */
const SIZES = [
  0,
  1,
  511,
  512,
  513,
  4095,
  4096,
  4097,
  50_000,
  MB - 1,
  MB,
  MB + 1,
  2 * MB + 512,
  3 * MB,
  4 * MB + 4096,
  7 * MB + 5,
]

const reallyRead = io.read
let folder: string
let library: Drive
let faults: Faults | undefined

beforeAll(async () => {
  folder = await makeFolder()
  library = (await openLibrary(folder)).drive
  for (const size of SIZES) await writeFile(join(folder, `of ${size}`), noise(size, size))
})
afterEach(() => {
  faults?.restore()
  faults = undefined
})
afterAll(() => removeFolder(folder))

async function expectAll(reader: DirectReader): Promise<void> {
  for (const size of SIZES) {
    const right = { checksum: sha256(noise(size, size)), size }
    for (const expected of [size, null, 0, size + 1, size + 10 * MB, Math.max(size - 1, 0)]) {
      expect(await reader.hash(`of ${size}`, expected), `${size}, expected ${expected}`).toEqual(right)
    }
  }
}

describe('a file of any size, whatever size it should have', () => {
  it('is hashed from the drive', async () => {
    const reader = new DirectReader(library)
    await expectAll(reader)
    if (process.platform === 'linux') expect(reader.isDirect).toBe(true)
  })

  it('is hashed where the file system refuses to go past the cache', async () => {
    const refused = injectFaults()
    faults = refused
    let direct = 0
    const O_DIRECT = constants.O_DIRECT ?? 0
    refused.behave('open', async (entry, flags) => {
      if (Number(flags) & O_DIRECT) {
        direct++
        throw Object.assign(new Error('EINVAL: invalid argument, open'), { code: 'EINVAL', syscall: 'open' })
      }
      return openSync(String(pathOf(entry)), Number(flags))
    })
    const reader = new DirectReader(library)
    expect(await reader.hash('of 50000', 50_000)).toEqual({ checksum: sha256(noise(50_000, 50_000)), size: 50_000 })
    expect(reader.isDirect).toBe(false)
    await reader.hash('of 4097', null)
    // Asked once, not for each file.
    expect(direct).toBe(O_DIRECT === 0 ? 0 : 1)
  })

  it('is hashed though reads give less than they were asked for', async () => {
    const short = injectFaults()
    faults = short
    const reader = new DirectReader(library)
    for (const size of SIZES.filter((size) => size > 0)) {
      for (const nth of [1, 2, 3]) {
        short.arm({ call: 'read', nth, fault: 'short' })
        const { checksum } = await reader.hash(`of ${size}`, size)
        expect(checksum, `${size}, read ${nth}`).toBe(sha256(noise(size, size)))
        short.disarm()
      }
    }
  })

  it('is hashed beside others, in memory for six reads at a time', async () => {
    const counting = injectFaults()
    faults = counting
    let [underWay, most] = [0, 0]
    counting.behave('read', async (...args) => {
      most = Math.max(most, ++underWay)
      try {
        return await reallyRead(...(args as Parameters<typeof reallyRead>))
      } finally {
        underWay--
      }
    })
    const reader = new DirectReader(library)
    const all = await Promise.all(
      Array.from({ length: 200 }, async (_, index) => {
        const size = SIZES[index % SIZES.length] ?? 0
        const { checksum } = await reader.hash(`of ${size}`, size)
        return checksum === sha256(noise(size, size))
      }),
    )
    expect(all.every(Boolean)).toBe(true)
    expect(most).toBe(6)
  })
})

it('the pause between chunks is told all bytes, can hold up the reading and can end it', async () => {
  const reader = new DirectReader(library)
  const chunks: number[] = []
  await reader.hash(`of ${7 * MB + 5}`, 7 * MB + 5, {
    pause: async (bytes) => {
      chunks.push(bytes)
    },
  })
  expect(chunks.reduce((sum, bytes) => sum + bytes, 0)).toBe(7 * MB + 5)
  expect(Math.max(...chunks)).toBeLessThanOrEqual(MB)
  const enough = new Error('enough')
  await expect(
    reader.hash(`of ${7 * MB + 5}`, null, {
      pause: async () => {
        throw enough
      },
    }),
  ).rejects.toBe(enough)
  // What it took is given back.
  await expectAll(reader)
})

it('a reader that waits can let go of the file, and goes on with it afterwards', needs(proc()), async () => {
  const reader = new DirectReader(library)
  let pauses = 0
  const read = await reader.hash(`of ${7 * MB + 5}`, 7 * MB + 5, {
    pause: async (_, letGo) => {
      if (pauses++ === 0) expect(openIn(folder)).toHaveLength(1)
      await letGo?.()
      expect(openIn(folder)).toEqual([])
    },
  })
  expect(read.checksum).toBe(sha256(noise(7 * MB + 5, 7 * MB + 5)))
  expect(pauses).toBe(8)
  expect(openIn(folder)).toEqual([])
})

/** Needs to see what a process has open. */
function proc(): string | undefined {
  return existsSync('/proc/self/fd') ? undefined : '/proc'
}

it('what is not there is a system error; a folder or a link is strange', async () => {
  const reader = new DirectReader(library)
  await mkdir(join(folder, 'a folder'))
  await symlink('of 1', join(folder, 'a link'))
  await expect(reader.hash('nothing', 10)).rejects.toMatchObject({ code: 'ENOENT' })
  await expect(reader.hash('a folder', 10)).rejects.toThrow('is a folder, and a file')
  await expect(reader.hash('a link', 10)).rejects.toThrow('is a link, and a file')
  // And the next file is still read from the drive.
  await reader.hash('of 50000', 50_000)
  if (process.platform === 'linux') expect(reader.isDirect).toBe(true)
})

it('a pipe in the place of a file does not hold it up', needs(command('mkfifo', 'coreutils')), async () => {
  await run('mkfifo', [join(folder, 'a pipe')])
  await expect(new DirectReader(library).hash('a pipe', 10)).rejects.toThrow('is a pipe, and a file')
  await rm(join(folder, 'a pipe'))
})

it('a file that has grown or shrunk is read as it is', async () => {
  const path = join(folder, 'changed')
  const reader = new DirectReader(library)
  await writeFile(path, noise(3 * MB, 'changed'))
  await appendFile(path, 'x')
  const grown = Buffer.concat([noise(3 * MB, 'changed'), Buffer.from('x')])
  expect(await reader.hash('changed', 3 * MB)).toEqual({ checksum: sha256(grown), size: grown.length })
  await truncate(path, 1000)
  expect(await reader.hash('changed', 3 * MB)).toEqual({ checksum: sha256(grown.subarray(0, 1000)), size: 1000 })
})

it.each([null, 1000, 2 * MB])(
  'a file is read up to its limit, and given up when it is longer than it should be (%s)',
  async (expected) => {
    const path = join(folder, 'long')
    await writeFile(path, noise(4 * MB, 'long'))
    const reader = new DirectReader(library)
    const size = 4 * MB
    expect(await reader.hash('long', expected, { limit: size })).toEqual({
      checksum: sha256(noise(size, 'long')),
      size,
    })
    await truncate(path, 2 ** 40)
    const reads = boundReads(16 * MB)
    await expect(reader.hash('long', expected, { limit: size })).rejects.toThrow(LongerFile)
    expect(reads.bytes).toBeLessThanOrEqual(6 * MB)
    // What it took is given back.
    expect((await reader.hash(`of ${4 * MB + 4096}`, null)).size).toBe(4 * MB + 4096)
  },
)

it('a file that says to be short and goes on is given up at its limit', async () => {
  const lying = injectFaults()
  faults = lying
  await writeFile(join(folder, 'growing'), noise(8 * MB, 'growing'))
  lying.behave('lstat', async () => ({ size: 1n }))
  const hashing = new DirectReader(library).hash('growing', 1, { limit: 4 * MB })
  await expect(hashing).rejects.toThrow(LongerFile)
})

describe.each(['tmpfs', 'ext4', 'xfs', 'btrfs', 'exfat'] as const)('on %s', (kind) => {
  it('files of any size are hashed', needs(drive(kind)), async () => {
    const mounted = await makeDrive(kind)
    try {
      const { drive } = await openLibrary(mounted.path)
      const reader = new DirectReader(drive)
      for (const size of SIZES) {
        await writeFile(join(mounted.path, 'file'), noise(size, size))
        for (const expected of [size, null]) {
          expect((await reader.hash('file', expected)).checksum, `${size}`).toBe(sha256(noise(size, size)))
        }
      }
    } finally {
      await mounted.remove()
    }
  })
})

it(
  'a bit that has flipped on the drive is seen, though the system has the right one in its cache',
  needs(drive('ext4')),
  async () => {
    const mounted = await makeDrive('ext4')
    try {
      const { drive } = await openLibrary(mounted.path)
      const path = join(mounted.path, 'photo.jpg')
      const bytes = noise(300_000, 'cached')
      await writeFile(path, bytes)
      const file = await open(path)
      await file.sync()
      await file.close()
      const image = join(mounted.path, '../image')
      await flipBit(image, (await readFile(image)).indexOf(bytes.subarray(0, 512)) + 100)

      expect((await readFile(path)).equals(bytes)).toBe(true)
      const rotten = Buffer.from(bytes)
      rotten.writeUInt8(rotten.readUInt8(100) ^ 1, 100)
      expect(await new DirectReader(drive).hash('photo.jpg', bytes.length)).toMatchObject({ checksum: sha256(rotten) })
    } finally {
      await mounted.remove()
    }
  },
)

async function flipBit(image: string, at: number): Promise<void> {
  const file = await open(image, 'r+')
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, at)
  byte.writeUInt8(byte.readUInt8(0) ^ 1)
  await file.write(byte, 0, 1, at)
  await file.close()
}
