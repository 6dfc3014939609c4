import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { withResolvers } from '../../src/base/resolvers.ts'
import type { Drive } from '../../src/storage/drive.ts'
import { createIdentity, readIdentity } from '../../src/storage/identity.ts'
import { CREATE, io } from '../../src/storage/io.ts'
import { drive as driveNeeds, makeDrive } from '../support/drives.ts'
import { type DriveNews, openLibrary } from '../support/library.ts'
import { needs } from '../support/needs.ts'
import { makeFolder, removeFolder } from '../support/server.ts'

let root: string
let drive: Drive
let news: DriveNews[]
beforeEach(async () => {
  root = await makeFolder()
  ;({ drive, news } = await openLibrary(root))
})
afterEach(() => removeFolder(root))

const identity = () => join(root, '.iclood/library.json')

it('says once that it is missing, and once that it is back', async () => {
  await rename(identity(), `${identity()}.away`)
  for (let round = 0; round < 3; round++) {
    await expect(drive.check()).rejects.toMatchObject({ code: 'drive_missing' })
  }
  expect(drive.isPresent).toBe(false)
  expect(news).toEqual([expect.objectContaining({ code: 'drive_missing' })])
  await rename(`${identity()}.away`, identity())
  await drive.check()
  await drive.check()
  expect(news.slice(1)).toEqual(['returned'])
})

describe('while another check is under way', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  /** The next look for the identity finds what is so now, and tells it when it is let go. */
  function holdNextLook() {
    const held = withResolvers<void>()
    const hasLooked = withResolvers<void>()
    const { lstat } = io
    vi.spyOn(io, 'lstat').mockImplementationOnce(async (entry) => {
      const found = await lstat(entry)
        .finally(hasLooked.resolve)
        .catch((error: unknown) => ({ error }))
      await held.promise
      if ('error' in found) throw found.error
      return found
    })
    return { letGo: held.resolve, hasLooked: hasLooked.promise }
  }

  it('what an older one found makes no drive missing that is back', async () => {
    await rename(identity(), `${identity()}.away`)
    await expect(drive.check()).rejects.toMatchObject({ code: 'drive_missing' })
    const { hasLooked, letGo } = holdNextLook()
    const older = expect(drive.check()).rejects.toMatchObject({ code: 'drive_missing' })
    await hasLooked
    await rename(`${identity()}.away`, identity())
    await drive.check()
    letGo()
    await older
    expect(drive.isPresent).toBe(true)
    expect(news).toEqual([expect.objectContaining({ code: 'drive_missing' }), 'returned'])
  })

  it('it is back once, however many find it at once', async () => {
    await rename(identity(), `${identity()}.away`)
    await expect(drive.check()).rejects.toMatchObject({ code: 'drive_missing' })
    await rename(`${identity()}.away`, identity())
    await Promise.all([drive.check(), drive.check(), drive.check()])
    expect(news.slice(1)).toEqual(['returned'])
  })
})

it.each(['', '{', '[]', '{"id": 5}', '{"id": "no uuid"}', 'null'])(
  'an identity file that holds %j is an error',
  async (text) => {
    await writeFile(identity(), text)
    await expect(drive.check()).rejects.toMatchObject({ code: 'drive_error' })
    expect(await readFile(identity(), 'utf8')).toBe(text)
  },
)

it('a library that was made keeps its identity, however many make it at once', async () => {
  const other = join(root, 'other/library')
  const ids = await Promise.all(Array.from({ length: 8 }, () => createIdentity(other, new Date())))
  expect(new Set(ids)).toEqual(new Set([await readIdentity(other)]))
})

describe('a look that waits', () => {
  beforeEach(async () => {
    const now = performance.now()
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    // The made-up clock begins at 0, and the drive has answered before.
    await vi.advanceTimersByTimeAsync(now)
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  /** A look that ends when it is told to, and what has come of it so far. */
  function beginLook() {
    let end = () => {}
    const seen = { outcome: 'waits' }
    const look = () =>
      new Promise<void>((resolve) => {
        end = resolve
      })
    const done = drive.answered(look).then(
      () => {
        seen.outcome = 'found'
      },
      () => {
        seen.outcome = 'silent'
      },
    )
    return { seen, done, end: () => end() }
  }

  it.each(['datasync', 'fsync', 'read'] as const)('goes on while each %s ends, and no longer', async (call) => {
    const file = await io.open(drive.at('.iclood/slow'), CREATE)
    const { seen, done, end } = beginLook()
    for (let round = 0; round < 5; round++) {
      await vi.advanceTimersByTimeAsync(20_000)
      await (call === 'read' ? io.read(file, Buffer.alloc(1), 0, 1, 0) : io[call](file))
    }
    await vi.advanceTimersByTimeAsync(29_000)
    expect(seen.outcome).toBe('waits')
    await vi.advanceTimersByTimeAsync(1_100)
    expect(seen.outcome).toBe('silent')
    end()
    await done
    await io.close(file)
  })

  it('is found on a slow drive, when it ends at last', async () => {
    const file = await io.open(drive.at('.iclood/slow'), CREATE)
    const { seen, done, end } = beginLook()
    await vi.advanceTimersByTimeAsync(25_000)
    await io.datasync(file)
    await vi.advanceTimersByTimeAsync(25_000)
    end()
    await done
    expect(seen.outcome).toBe('found')
    await io.close(file)
  })

  it('is given up after 30 s, however busy another drive is and whatever memory answers', async () => {
    const other = await makeFolder()
    const { drive: busy } = await openLibrary(other)
    const file = await io.open(busy.at('.iclood/busy'), CREATE)
    const own = await io.open(drive.at('.iclood/own'), CREATE)
    const { seen, done, end } = beginLook()
    await vi.advanceTimersByTimeAsync(29_000)
    await io.datasync(file)
    await io.writev(own, [Buffer.alloc(1)], 0)
    expect(seen.outcome).toBe('waits')
    await vi.advanceTimersByTimeAsync(1_100)
    expect(seen.outcome).toBe('silent')
    end()
    await done
    await Promise.all([io.close(file), io.close(own)])
    await removeFolder(other)
  })
})

describe('when it is unmounted', needs(driveNeeds('tmpfs')), () => {
  it('is missing at once, and is another one when another identity is mounted there', async () => {
    const disk = await makeDrive('tmpfs')
    try {
      const { drive } = await openLibrary(disk.path)
      await disk.unmount()
      // As one that has looked for the drive just before would.
      await expect(drive.makeOwnFolder('.iclood/incoming')).rejects.toMatchObject({ code: 'ENOENT' })
      expect(await readdir(disk.path)).toEqual([])
      await expect(drive.check()).rejects.toMatchObject({ code: 'drive_missing' })
      await expect(drive.checkLately()).rejects.toMatchObject({ code: 'drive_missing' })
      await mkdir(join(disk.path, '.iclood'))
      await writeFile(join(disk.path, '.iclood/library.json'), '{"id":"11111111-2222-4333-8444-555555555555"}')
      await expect(drive.check()).rejects.toMatchObject({ code: 'drive_missing' })
      await disk.mount()
      await drive.check()
    } finally {
      await disk.remove()
    }
  })
})
