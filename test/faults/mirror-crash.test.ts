import { existsSync } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { stagedIn, uploadsIn } from '../support/drives.ts'
import { jpeg } from '../support/media.ts'
import { isSame } from '../support/mirrored.ts'
import { get, upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder } from '../support/server.ts'
import { type Moment, type StoppableServer, startStoppable } from '../support/stoppable.ts'
import { until } from '../support/until.ts'

/* The rows of the mirror's crash table in docs/design.md, under their names; see crash-table.test.ts. */

const SIZE = 3_000_000
let folder: string
let mirror: string
let database: TestDatabase
let client: pg.Client
let server: StoppableServer
let year = 2001
beforeAll(async () => {
  folder = await makeFolder()
  mirror = join(folder, 'mirror')
  database = await startTestDatabase()
  client = new pg.Client(database.connection)
  await client.connect()
  await start()
})
afterAll(async () => {
  await server.stop()
  await client.end()
  await database.drop()
  await removeFolder(folder)
})

async function start(): Promise<void> {
  server = await startStoppable(folder, { DATABASE_URL: database.url, MIRROR_FOLDER: mirror })
  await until('the second copy is there', async () => (await stateOf()) === 'ok')
}

async function stateOf(): Promise<string | undefined> {
  return (await get(server.url, '/library/health')).body.mirror?.state
}

async function hasRow(path: string): Promise<boolean> {
  return (
    (await client.query('select from copies where place <> 0 and wanted_since is null and path = $1', [path])).rows
      .length > 0
  )
}

/** Stores a photo of a month in which there is none yet. */
async function store(): Promise<{ path: string; month: string }> {
  const bytes = jpeg({ date: `${++year}:07:01 12:00:00`, size: SIZE, seed: year })
  // The server may end before it has answered: the mirror hears of what is recorded.
  const answer = await upload(server.url, bytes, { name: 'IMG_0001.JPG' }).catch(() => undefined)
  if (answer !== undefined) expect(answer).toMatchObject({ status: 201 })
  return { path: `${year}/07/IMG_0001.JPG`, month: join(mirror, String(year), '07') }
}

interface Row {
  moment: Moment
  /** Whether the whole copy lies in the mirror's staging. */
  isStaged: boolean
  /** What the mirror's month has. */
  month: readonly string[] | undefined
}

/**
 * Stores a photo, looks at what a server leaves that ends at that moment, and starts it again: then there is a copy,
 * and only one.
 */
async function crash({ moment, isStaged, month }: Row): Promise<void> {
  await server.stopAt(moment)
  const photo = await store()
  await server.ended()
  const staged = await uploadsIn(mirror)
  const sizes = await Promise.all(staged.map(async (name) => (await stat(join(mirror, '.iclood/incoming', name))).size))
  expect(sizes).toEqual(isStaged ? [SIZE] : [])
  expect(existsSync(photo.month) ? await readdir(photo.month) : undefined).toEqual(month)
  expect(await hasRow(photo.path)).toBe(false)
  const inode = month?.includes('IMG_0001.JPG') ? (await stat(join(mirror, photo.path))).ino : undefined

  await start()
  await expectCopied(photo)
  if (inode !== undefined) expect((await stat(join(mirror, photo.path))).ino).toBe(inode)
}

async function expectCopied({ path, month }: { path: string; month: string }): Promise<void> {
  await until('there is a copy', () => hasRow(path))
  expect(await isSame(path, server.library, mirror)).toBe(true)
  expect(await readFile(join(month, 'SHA256SUMS'), 'utf8')).toMatch(/^[0-9a-f]{64} {2}IMG_0001\.JPG\n$/)
  expect((await readdir(month)).sort()).toEqual(['IMG_0001.JPG', 'SHA256SUMS'])
  await until('staging is empty', async () => (await stagedIn(mirror)).length === 0)
}

describe('a second copy', () => {
  it('1 copy', () =>
    crash({
      // It is opened to be written to, and then once more, to be read back.
      moment: { when: 'before', call: ['open'], path: /\/mirror\/\.iclood\/incoming\/[^ ]+$/ },
      isStaged: true,
      month: undefined,
    }))

  it('2 read back', () =>
    crash({
      moment: { when: 'before', call: ['mkdir'], path: /\/mirror\/\d{4}$/ },
      isStaged: true,
      month: undefined,
    }))

  it('3 name', () =>
    crash({
      moment: { when: 'after', call: ['fsync'], path: /\/mirror$/ },
      isStaged: true,
      month: ['IMG_0001.JPG'],
    }))

  it('4 list', () =>
    crash({
      moment: { when: 'after', call: ['rename'], path: /\/mirror\/\d{4}\/07\/SHA256SUMS$/ },
      isStaged: false,
      month: ['IMG_0001.JPG', 'SHA256SUMS'],
    }))

  it('5 record', async () => {
    const photo = await store()
    await until('there is a copy', () => hasRow(photo.path))
    const { ino } = await stat(join(mirror, photo.path))
    await server.kill()
    await start()
    expect(await hasRow(photo.path)).toBe(true)
    await expectCopied(photo)
    expect((await stat(join(mirror, photo.path))).ino).toBe(ino)
  })

  it('6 journal', async () => {
    const photo = await store()
    await until('there is a copy', () => hasRow(photo.path))
    await server.stopAt({ when: 'after', call: ['rename'], path: /\/mirror\/\.iclood\/journal\// })
    await server.ended()
    await start()
    await expectCopied(photo)
    await until('the journals are the same', async () => {
      const names = await readdir(join(server.library, '.iclood/journal'))
      if ((await readdir(join(mirror, '.iclood/journal'))).join() !== names.join()) return false
      const paths = names.map((name) => `.iclood/journal/${name}`)
      const same = await Promise.all(paths.map((path) => isSame(path, server.library, mirror).catch(() => false)))
      return !same.includes(false)
    })
  })
})
