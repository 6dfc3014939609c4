import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Drive } from '../../src/storage/drive.ts'
import { createIdentity, readIdentity } from '../../src/storage/identity.ts'
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
