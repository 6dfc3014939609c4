import { execFile } from 'node:child_process'
import { link, mkdir, open, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { LibraryPath, MonthFolder } from '../../src/format/layout.ts'
import { Committer } from '../../src/storage/commit.ts'
import type { Drive } from '../../src/storage/drive.ts'
import { readIdentity } from '../../src/storage/identity.ts'
import { JournalWriter } from '../../src/storage/journal/writer.ts'
import { checksumOf, sizeOf, stateOf } from '../../src/storage/originals.ts'
import { quarantine } from '../../src/storage/quarantine.ts'
import { readSums } from '../../src/storage/read-sums.ts'
import { SumsFiles } from '../../src/storage/sums.ts'
import { drive as driveNeeds, makeDrive } from '../support/drives.ts'
import { openLibrary } from '../support/library.ts'
import { needs } from '../support/needs.ts'
import { makeFolder, removeFolder } from '../support/server.ts'

const run = promisify(execFile)
const JULY = '2024/07' as MonthFolder
const PHOTO = '2024/07/IMG_1.JPG' as LibraryPath
const SUM = 'a'.repeat(64)

let root: string
let elsewhere: string
let drive: Drive
let committer: Committer
beforeAll(async () => {
  root = await makeFolder()
  elsewhere = await makeFolder()
  drive = (await openLibrary(root)).drive
  committer = new Committer(drive)
  await committer.makeFolder(JULY)
})
afterAll(async () => {
  await removeFolder(root)
  await removeFolder(elsewhere)
})

/** Puts something in the place of `path`, while `use` runs. */
async function inPlaceOf(path: string, make: (place: string) => Promise<unknown>, use: () => Promise<void>) {
  const place = join(root, path)
  await rename(place, `${place}.aside`).catch(() => {})
  try {
    await make(place)
    await use()
  } finally {
    await rm(place, { recursive: true, force: true })
    await rename(`${place}.aside`, place).catch(() => {})
  }
}

/** A hole of 8 GB. */
async function giant(path: string): Promise<void> {
  const file = await open(path, 'w')
  await file.truncate(8 * 1024 ** 3)
  await file.close()
}

const KINDS: [string, (path: string) => Promise<unknown>][] = [
  ['a pipe', (path) => run('mkfifo', [path])],
  ['a folder', (path) => mkdir(path)],
  ['a link', (path) => symlink('/dev/zero', path)],
]

describe.each([...KINDS, ['larger than', giant] as (typeof KINDS)[number]])('what is %s', (kind, make) => {
  const strange = { code: 'drive_error', message: expect.stringContaining(`on the drive is ${kind}`) }

  it('is no identity, and no SHA256SUMS', async () => {
    await inPlaceOf('.iclood/library.json', make, async () => {
      await expect(readIdentity(root)).rejects.toMatchObject(strange)
    })
    await inPlaceOf(`${JULY}/SHA256SUMS`, make, async () => {
      await expect(readSums(drive, JULY)).rejects.toMatchObject(strange)
      expect(await drive.files.findStrange()).toMatchObject(strange)
    })
    expect(await drive.files.findStrange()).toBeUndefined()
  })
})

it.each(KINDS)('what is %s is no original', async (kind, make) => {
  await inPlaceOf(PHOTO, make, async () => {
    expect([await sizeOf(drive, PHOTO), await stateOf(drive, PHOTO)]).toEqual([undefined, 'absent'])
    await expect(checksumOf(drive, PHOTO, 1000)).rejects.toMatchObject({
      message: expect.stringContaining(`is ${kind}`),
    })
  })
})

it('an original in a linked month is not read from elsewhere, nor taken for absent', async () => {
  await writeFile(join(elsewhere, 'IMG_1.JPG'), 'theirs')
  await inPlaceOf(
    JULY,
    (place) => symlink(elsewhere, place),
    async () => {
      await expect(checksumOf(drive, PHOTO, 1000)).rejects.toMatchObject({
        message: expect.stringContaining('2024/07 on the'),
      })
      expect(await stateOf(drive, PHOTO)).toBe('unreadable')
    },
  )
})

it('nothing is moved to a linked quarantine', async () => {
  await writeFile(join(root, PHOTO), 'wrong')
  await mkdir(join(root, '.iclood/quarantine'), { recursive: true })
  await inPlaceOf(
    '.iclood/quarantine',
    (place) => symlink(elsewhere, place),
    async () => {
      const moving = quarantine(drive, PHOTO, new Date())
      await expect(moving).rejects.toMatchObject({
        message: expect.stringContaining('quarantine on the drive is a link'),
      })
      expect(await readdir(elsewhere)).toEqual(['IMG_1.JPG'])
    },
  )
  await rm(join(root, PHOTO))
})

it('a SHA256SUMS with another name elsewhere is replaced, not written to', async () => {
  const files = new SumsFiles(drive, committer, () => new Date())
  const sums = (...names: string[]) => new Map(names.map((name) => [name, SUM as never]))
  await files.repair(JULY, sums('a.jpg'))
  await link(join(root, JULY, 'SHA256SUMS'), join(root, 'precious'))
  const before = await readFile(join(root, 'precious'), 'utf8')
  expect(await files.add(JULY, sums('b.jpg'))).toBe(false)
  await files.repair(JULY, sums('a.jpg', 'b.jpg'))
  expect(await readFile(join(root, 'precious'), 'utf8')).toBe(before)
  expect((await readSums(drive, JULY))?.sums.size).toBe(2)
})

it('a journal that is a link has nothing removed from where it leads', async () => {
  await writeFile(join(elsewhere, '00000001-snapshot.jsonl.part'), 'theirs')
  await inPlaceOf(
    '.iclood/journal',
    (place) => symlink(elsewhere, place),
    async () => {
      const writing = new JournalWriter(drive, new Committer(drive), () => new Date()).append([])
      await expect(writing).rejects.toMatchObject({
        message: expect.stringContaining('journal on the drive is a link'),
      })
      expect((await readdir(elsewhere)).sort()).toEqual(['00000001-snapshot.jsonl.part', 'IMG_1.JPG'])
    },
  )
})

it('another file system in a month takes nothing', needs(driveNeeds('tmpfs')), async () => {
  const other = await makeDrive('tmpfs', 1024 * 1024)
  const month = join(root, '2024/08')
  await mkdir(month)
  await run('mount', ['--bind', other.path, month])
  try {
    const taking = committer.makeFolder('2024/08')
    await expect(taking).rejects.toMatchObject({
      message: expect.stringContaining('2024/08 on the drive is another file'),
    })
    expect(await drive.files.findStrange()).toMatchObject({ path: '2024/08' })
  } finally {
    await run('umount', [month])
    await other.remove()
  }
})
