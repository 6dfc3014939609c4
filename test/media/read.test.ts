import { describe, expect, it } from 'vitest'
import { fileBytes, join, part } from '../../src/media/read.ts'
import { noise } from '../support/media.ts'

const KB = 1024
const content = noise(3 * KB * KB)

function counted(file = content, size = file.length) {
  const calls: [position: number, length: number][] = []
  const bytes = fileBytes(async (position, length) => {
    calls.push([position, length])
    return file.subarray(position, position + length)
  }, size)
  return { bytes, calls }
}

describe('reading a file in pieces', () => {
  it('serves all of the first 64 KiB from one read', async () => {
    const { bytes, calls } = counted()
    for (const offset of [0, 17, 40 * KB, 64 * KB - 10]) {
      expect(await bytes.read(offset, 10)).toEqual(content.subarray(offset, offset + 10))
    }
    expect(calls).toEqual([[0, 64 * KB]])
  })

  it('serves neighbouring pieces further on from one more', async () => {
    const { bytes, calls } = counted()
    for (const offset of [2_000_000, 2_000_100, 2_004_000]) {
      expect(await bytes.read(offset, 90)).toEqual(content.subarray(offset, offset + 90))
    }
    expect(calls).toEqual([
      [0, 64 * KB],
      [2_000_000, 4 * KB],
    ])
  })

  it.each([
    [content.length - 1, 2],
    [content.length + 1, 0],
    [-1, 2],
    [0, -1],
    [2 ** 64, 1],
    [0, 2 ** 64],
    [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
    [0, 256 * KB + 1],
  ])('has nothing at %d of length %d', async (offset, length) => {
    expect(await counted().bytes.read(offset, length)).toBeUndefined()
  })

  it('has nothing where the file is shorter than was said', async () => {
    expect(await counted(content.subarray(0, 100_000), 200_000).bytes.read(99_995, 10)).toBeUndefined()
    expect(await counted(Buffer.alloc(0), 10).bytes.read(0, 10)).toBeUndefined()
  })

  it('reads 1 MiB and no more', async () => {
    const { bytes, calls } = counted()
    let answered = 0
    for (let offset = KB * KB; offset < 3 * KB * KB; offset += 200 * KB) {
      if ((await bytes.read(offset, 200 * KB)) !== undefined) answered += 1
    }
    expect(answered).toBe(4)
    expect(calls.reduce((sum, [, length]) => sum + length, 0)).toBeLessThanOrEqual(KB * KB)
  })

  it('reads 200 times and no more', async () => {
    const { bytes, calls } = counted()
    let answered = 0
    for (let piece = 0; piece < 300; piece += 1) {
      if ((await bytes.read(100_000 + piece * 5000, 10)) !== undefined) answered += 1
    }
    expect(answered).toBe(199)
    expect(calls).toHaveLength(200)
  })

  it('passes an error of the file on', async () => {
    const failure = Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' })
    await expect(fileBytes(() => Promise.reject(failure), 10).read(0, 1)).rejects.toBe(failure)
  })
})

describe('a part of a file', () => {
  it('has its own offsets and ends where it ends', async () => {
    const inner = part(counted().bytes, 100, 50)
    expect(await inner?.read(10, 40)).toEqual(content.subarray(110, 150))
    expect(await inner?.read(10, 41)).toBeUndefined()
    expect(await inner?.read(-1, 2)).toBeUndefined()
  })

  it('is none if it sticks out', () => {
    const { bytes } = counted()
    expect(part(bytes, content.length - 1, 2)).toBeUndefined()
    expect(part(bytes, content.length + 1)).toBeUndefined()
    expect(part(bytes, 10, -2)).toBeUndefined()
    expect(part(bytes, content.length)?.size).toBe(0)
  })
})

describe('parts joined', () => {
  it('read as if they were one', async () => {
    const { bytes } = counted()
    const places = [
      [500, 10],
      [0, 0],
      [100, 5],
      [90_000, 20],
    ] as const
    const joined = join(places.map(([offset, length]) => part(bytes, offset, length) ?? bytes))
    const expected = Buffer.concat(places.map(([offset, length]) => content.subarray(offset, offset + length)))
    expect(joined.size).toBe(35)
    for (let offset = 0; offset <= 35; offset += 1) {
      for (let length = 0; length <= 35 - offset; length += 1) {
        expect(await joined.read(offset, length)).toEqual(expected.subarray(offset, offset + length))
      }
    }
    expect(await joined.read(30, 6)).toBeUndefined()
  })
})
