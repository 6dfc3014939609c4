import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { link, mkdir, open, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jpeg } from '../support/media.ts'
import { get, upload } from '../support/phone.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

const run = promisify(execFile)

let folder: string
let elsewhere: string
let mirror: string
let server: TestServer

beforeAll(async () => {
  folder = await makeFolder()
  elsewhere = join(folder, 'elsewhere')
  mirror = join(folder, 'mirror')
  server = await startServer(folder, { MIRROR_FOLDER: mirror })
  await until('the mirror is there', async () => existsSync(join(mirror, '.iclood/library.json')))
})
afterAll(async () => {
  await server.stop()
  await removeFolder(folder)
})

let number = 0
/** A photo of that month; no two are the same. */
const photo = (month: string) =>
  jpeg({ date: `${month.replace('/', ':')}:01 12:00:00`, size: 3_000, seed: `${number++}` })
const send = (month: string) => upload(server.url, photo(month), { name: `IMG_${number}.JPG` })

/** A folder of somebody else's, with what no server may touch. */
async function home(): Promise<string> {
  await rm(elsewhere, { recursive: true, force: true })
  await mkdir(join(elsewhere, '07'), { recursive: true })
  for (const name of ['letter.txt', '00000001-snapshot.jsonl.part', '6f1c0f6e-54a5-4a39-9b7e-0f3d0a8b2c11.part']) {
    await writeFile(join(elsewhere, name), name)
  }
  return elsewhere
}

/** All that lies in it, with its bytes. */
async function contents(path: string): Promise<Record<string, string>> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return Object.fromEntries(await Promise.all(files.sort().map(async (file) => [file, await readFile(file, 'utf8')])))
}

/** Puts a link to somebody's home in the place of `path` in the library, while `use` runs; nothing may change there. */
async function linked(path: string, use: () => Promise<void>): Promise<void> {
  const place = join(server.library, path)
  const isThere = existsSync(place)
  const before = await contents(await home())
  if (isThere) await rename(place, `${place}.aside`)
  await symlink(elsewhere, place)
  try {
    await use()
    expect(await contents(elsewhere)).toEqual(before)
  } finally {
    await rm(place)
    if (isThere) await rename(`${place}.aside`, place)
  }
}

const isRefused = (what: string) => ({
  status: 503,
  body: {
    code: 'drive_error',
    message: expect.stringMatching(new RegExp(`^${what} on the drive is a link, and a folder`)),
  },
})

describe('a link in the place of', () => {
  it.each([
    ['a year', '2011', '2011/07', '2011'],
    ['a month', '2012/07', '2012/07', '2012/07'],
    ['staging', '.iclood/incoming', '2013/07', String.raw`\.iclood/incoming`],
  ])('%s takes no upload; it is told, and all goes on when it is gone', async (_what, path, month, named) => {
    await mkdir(join(server.library, path, '..'), { recursive: true })
    await linked(path, async () => {
      expect(await send(month)).toMatchObject(isRefused(named))
      const { body } = await get(server.url, '/library/health')
      expect(body.problems).toContainEqual(
        expect.objectContaining({
          key: 'drive_unwritable',
          message: expect.stringContaining(`${path} on the drive is a link`),
        }),
      )
      // What does not need it goes on.
      if (path !== '.iclood/incoming') expect((await send('2014/07')).status).toBe(201)
    })
    expect((await send(month)).status).toBe(201)
    const { body } = await get(server.url, '/library/health')
    expect(body.problems.filter(({ key }: { key: string }) => key === 'drive_unwritable')).toEqual([])
  })

  it('the journal has nothing written to or removed from where it leads', async () => {
    const journal = join(server.library, '.iclood/journal')
    await linked('.iclood/journal', async () => {
      expect((await send('2015/07')).status).toBe(201)
      await until('the journal was to be written', async () => /journal on the drive is a link/.test(server.output()))
    })
    const sent = `IMG_${number}.JPG`
    await until('the journal has it', async () => JSON.stringify(await contents(journal)).includes(sent))
  })

  it('the mirror’s year takes no copy, and gets it when that is gone', async () => {
    await rename(elsewhere, `${elsewhere}.old`).catch(() => {})
    const before = await contents(await home())
    await symlink(elsewhere, join(mirror, '2016'))
    expect((await send('2016/07')).status).toBe(201)
    await until('it is told', async () => /2016 on the drive is a link/.test(server.output()))
    expect(await contents(elsewhere)).toEqual(before)
    await rm(join(mirror, '2016'))
    const path = join(mirror, '2016/07', `IMG_${number}.JPG`)
    await until('there is a copy', async () => (await stat(path).catch(() => undefined)) !== undefined)
  })
})

describe('what somebody put in the place of', () => {
  it('a journal file is not written to, as a link or under two names', async () => {
    const journal = join(server.library, '.iclood/journal')
    expect((await send('2017/07')).status).toBe(201)
    const isWritten = (name: string) => async () => JSON.stringify(await contents(journal)).includes(name)
    await until('it is in the journal', isWritten(`IMG_${number}.JPG`))
    for (const swap of [symlink, link]) {
      await writeFile(join(folder, 'precious'), 'precious')
      const logs = (await readdir(journal)).filter((name) => name.endsWith('-log.jsonl')).sort()
      const newest = join(journal, logs.at(-1) ?? '')
      const bytes = await readFile(newest)
      await rm(newest)
      await writeFile(join(folder, 'precious'), bytes)
      await swap(join(folder, 'precious'), newest)
      expect((await send('2017/07')).status).toBe(201)
      const name = `IMG_${number}.JPG`
      await until('it is in another file', async () => {
        const names = (await readdir(journal)).filter((one) => one.endsWith('.jsonl') && join(journal, one) !== newest)
        const texts = await Promise.all(names.map((one) => readFile(join(journal, one), 'utf8').catch(() => '')))
        return texts.some((text) => text.includes(name))
      })
      expect((await readFile(join(folder, 'precious'))).equals(bytes)).toBe(true)
      await rm(newest, { force: true })
      await rm(join(folder, 'precious'))
    }
  })

  it.each([
    ['a pipe', (path: string) => run('mkfifo', [path])],
    ['a folder', (path: string) => mkdir(path)],
    ['a giant file', (path: string) => giant(path)],
  ])('SHA256SUMS, %s, holds up nothing and stays as it is', async (what, make) => {
    const month = `20${10 + what.length}/08`
    await mkdir(join(server.library, month), { recursive: true })
    const sums = join(server.library, month, 'SHA256SUMS')
    await make(sums)
    const before = await stat(sums)
    expect((await send(month)).status).toBe(201)
    await until('it is told', async () => {
      const { body } = await get(server.url, '/library/health')
      return JSON.stringify(body.problems).includes(`${month}/SHA256SUMS on the drive is `)
    })
    expect((await stat(sums)).ino).toBe(before.ino)
    expect((await send(month)).status).toBe(201)
    await rm(sums, { recursive: true })
    expect((await send(month)).status).toBe(201)
    const name = `IMG_${number}.JPG`
    await until('it is listed', async () => (await readFile(sums, 'utf8').catch(() => '')).includes(name))
  })
})

/** As `library.json` a hole of 8 GB: a file that no memory holds. */
async function giant(path: string): Promise<void> {
  const file = await open(path, 'w')
  await file.truncate(8 * 1024 ** 3)
  await file.close()
}

it.each([
  ['a pipe', (path: string) => run('mkfifo', [path])],
  ['a giant file', (path: string) => giant(path)],
])('a library.json that is %s keeps the library away for as long as it is there, and no stop', async (_what, make) => {
  const own = await makeFolder()
  const first = await startServer(own)
  expect((await upload(first.url, photo('2024/07'))).status).toBe(201)
  const identity = join(first.library, '.iclood/library.json')
  await rename(identity, `${identity}.kept`)
  await make(identity)
  await until('it is away', async () => (await get(first.url, '/library/health')).body.healthy === false)
  expect(await upload(first.url, photo('2024/07'))).toMatchObject({ status: 503 })
  expect(await first.stop()).toBe(0)

  const second = await startServer(own)
  expect(await upload(second.url, photo('2024/07'))).toMatchObject({ status: 503 })
  await rm(identity, { recursive: true })
  await rename(`${identity}.kept`, identity)
  await until('it is back', async () => (await upload(second.url, photo('2024/07'))).status === 201)
  expect(await second.stop()).toBe(0)
  await removeFolder(own)
})

it('a linked staging folder is cleared neither at the start nor when the drive is back', async () => {
  const own = await makeFolder()
  const before = await contents(await home())
  const first = await startServer(own)
  await first.stop()
  const staging = join(first.library, '.iclood/incoming')
  await rm(staging, { recursive: true })
  await symlink(elsewhere, staging)
  const second = await startServer(own)
  await until('it is told', async () => /incoming on the drive is a link/.test(second.output()))
  expect(await contents(elsewhere)).toEqual(before)
  await rm(staging)
  await until('it is ready', async () => (await upload(second.url, photo('2024/07'))).status === 201)
  await rename(second.library, `${second.library}.away`)
  await until('it is away', async () => (await upload(second.url, photo('2024/07'))).status === 503)
  await rm(join(`${second.library}.away`, '.iclood/incoming'), { recursive: true })
  await symlink(elsewhere, join(`${second.library}.away`, '.iclood/incoming'))
  await rename(`${second.library}.away`, second.library)
  await until('it is told', async () => /staging could not be cleared/.test(second.output()))
  expect(await contents(elsewhere)).toEqual(before)
  expect(await second.stop()).toBe(0)
  await removeFolder(own)
})
