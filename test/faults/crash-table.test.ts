import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { originalsIn, stagedIn, uploadsIn } from '../support/drives.ts'
import { jpeg } from '../support/media.ts'
import { type Answer, post, upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder } from '../support/server.ts'
import { type Moment, type StoppableServer, startStoppable } from '../support/stoppable.ts'
import { until } from '../support/until.ts'

/*
 * The rows of the crash tables in docs/design.md, under their names: the server ends right after that step, as by kill
 * -9, and is started again on the same folder and database.
 */

let folder: string
let database: TestDatabase
let client: pg.Client
let server: StoppableServer
beforeAll(async () => {
  folder = await makeFolder()
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

/** A new start: the one after the last row is the one before the next. */
async function start(): Promise<void> {
  server = await startStoppable(folder, { DATABASE_URL: database.url })
}

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const INCOMING = /\/\.iclood\/incoming\//

/** A photo of a month in which there is none yet, announced by its phone. */
class Photo {
  static #count = 0
  readonly year = String(2001 + Photo.#count++)
  readonly device = `iPhone of ${this.year}`
  readonly path = `${this.year}/07/IMG_0001.JPG`
  readonly bytes = jpeg({ date: `${this.year}:07:01 12:00:00`, size: 3_000_000, seed: this.year })
  readonly #phonePath = 'file:///var/mobile/Media/DCIM/100APPLE/IMG_0001.JPG'

  async isWanted(): Promise<boolean> {
    const files = [{ path: this.#phonePath, name: 'IMG_0001.JPG' }]
    const answer = await post(server.url, '/photos/new', { device_id: this.device, files })
    return answer.body.count === 1
  }

  send(device = this.device): Promise<Answer> {
    const fields = { device_id: device, original_path: this.#phonePath }
    return upload(server.url, this.bytes, { name: 'IMG_0001.JPG', fields })
  }

  /** Its row. */
  async status(): Promise<string | undefined> {
    const { rows } = await client.query('select status from backups where device_id = $1', [this.device])
    expect(rows).toHaveLength(1)
    return rows[0]?.status
  }
}

interface Row {
  moment: Moment
  /**
   * What is on the drive: in staging, a part of the photo or all of it; of the month, nothing, the folder, the
   * original.
   */
  staged: 'nothing' | 'part' | 'all'
  month: 'missing' | 'empty' | 'there'
  /** What the catalogue says. */
  status: 'Pending' | 'Completed'
}

/** Sends a photo to a server that ends at that moment, looks, starts it again, looks, and sends the photo once more. */
async function crash({ moment, staged, month, status }: Row): Promise<void> {
  const photo = new Photo()
  expect(await photo.isWanted()).toBe(true)
  await server.stopAt(moment)
  await expect(photo.send()).rejects.toThrow()
  await server.ended()

  const left = await uploadsIn(server.library)
  const sizes = await Promise.all(
    left.map(async (name) => (await stat(join(server.library, '.iclood/incoming', name))).size),
  )
  if (staged === 'nothing') expect(sizes).toEqual([])
  else if (staged === 'all') expect(sizes).toEqual([photo.bytes.length])
  else expect(sizes.every((size) => size < photo.bytes.length)).toBe(true)
  const monthFolder = join(server.library, photo.year, '07')
  const found = existsSync(monthFolder) ? await readdir(monthFolder) : undefined
  expect(found).toEqual({ missing: undefined, empty: [], there: ['IMG_0001.JPG'] }[month])
  expect(await photo.status()).toBe(status)

  await start()
  await until('staging is cleared', async () => (await stagedIn(server.library)).length === 0)
  expect(await photo.isWanted()).toBe(status === 'Pending')
  // What lies there already is not stored again.
  await expectStoredOnce(photo, month === 'there' ? 200 : 201)
}

/** It is stored, under its name and once, when the phone sends it now. */
async function expectStoredOnce(photo: Photo, expected: number): Promise<void> {
  expect(await photo.send()).toMatchObject({ status: expected, body: { backup: { file_path: photo.path } } })
  expect((await originalsIn(join(server.library, photo.year))).filter((name) => !name.endsWith('SHA256SUMS'))).toEqual([
    '07/IMG_0001.JPG',
  ])
  expect(sha256(await readFile(join(server.library, photo.path)))).toBe(sha256(photo.bytes))
  expect(await photo.isWanted()).toBe(false)
  expect(await photo.status()).toBe('Completed')
}

describe('an upload', () => {
  const unchanged = { staged: 'nothing', month: 'missing', status: 'Pending' } as const
  const flushed = { when: 'after', call: ['datasync'], path: INCOMING } as const

  it('1 admit', () => crash({ ...unchanged, moment: { when: 'before', call: ['open'], path: INCOMING } }))

  it('2 stage', () =>
    crash({ ...unchanged, staged: 'part', moment: { when: 'after', call: ['writev'], path: INCOMING } }))

  it('3 flush', () => crash({ ...unchanged, staged: 'all', moment: flushed }))

  it('4 look up', () => crash({ ...unchanged, staged: 'all', moment: { ...flushed, isNext: true } }))

  it('5 decide', () =>
    crash({ ...unchanged, staged: 'all', moment: { when: 'before', call: ['mkdir'], path: /\/\d{4}$/ } }))

  it('6 folder', () =>
    crash({
      ...unchanged,
      staged: 'all',
      month: 'empty',
      moment: { when: 'after', call: ['mkdir'], path: /\/\d{4}\/07$/ },
    }))

  it('7 name', () =>
    crash({
      moment: { when: 'after', call: ['link'], path: /\/\d{4}\/07\/IMG_0001.JPG$/ },
      staged: 'all',
      month: 'there',
      status: 'Pending',
    }))

  it('8 flush', () =>
    crash({
      moment: { when: 'after', call: ['fsync'], path: /\/photos$/ },
      staged: 'all',
      month: 'there',
      status: 'Pending',
    }))

  it('9 record', () =>
    crash({
      moment: { when: 'before', call: ['unlink'], path: INCOMING },
      staged: 'all',
      month: 'there',
      status: 'Completed',
    }))

  it('10 answer', async () => {
    const photo = new Photo()
    expect(await photo.isWanted()).toBe(true)
    expect(await photo.send()).toMatchObject({ status: 201 })
    await server.kill()
    await start()
    expect(await photo.isWanted()).toBe(false)
    await expectStoredOnce(photo, 200)
  })
})

it('each row of the crash tables in docs/design.md has a test of its name', async () => {
  const design = await readFile(join(import.meta.dirname, '../../docs/design.md'), 'utf8')
  const rows = stepsIn(design)
  expect(rows.length).toBeGreaterThanOrEqual(10)
  const names = new Set<string>()
  for (const file of await readdir(import.meta.dirname)) {
    const source = await readFile(join(import.meta.dirname, file), 'utf8')
    for (const [, name] of source.matchAll(/\bit\(\s*'(.*?)'/g)) if (name !== undefined) names.add(name)
  }
  expect(rows.filter((row) => !names.has(row))).toEqual([])
})

/** The first cells of all tables whose first column is called `step`. */
function stepsIn(markdown: string): string[] {
  let isInside = false
  const steps: string[] = []
  for (const line of markdown.split('\n')) {
    const cell = /^\| *(.*?) *\|/.exec(line)?.[1]
    if (cell === undefined) isInside = false
    else if (cell === 'step') isInside = true
    else if (isInside && !/^-+$/.test(cell)) steps.push(cell)
  }
  return steps
}
