import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { open, readFile, rename, rm, stat, truncate, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jpeg } from '../support/media.ts'
import { type Answer, get, post, upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

const MODEL = 'iPhone 16'
const TAKEN = Date.parse('2024-07-01T12:00:00Z')
const DAY = 86_400_000

let database: TestDatabase
let client: pg.Client
let server: TestServer

beforeAll(async () => {
  database = await startTestDatabase()
  client = new pg.Client(database.connection)
  await client.connect()
  server = await startServer(await makeFolder(), { DATABASE_URL: database.url })
})

afterAll(async () => {
  await server.stop()
  await client.end()
  await database.drop()
  await removeFolder(server.folder)
})

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

let counter = 0

interface Photo {
  name: string
  path: string
  bytes: Buffer
  /** Where it lies on the drive. */
  place: string
  /** Its entry in the phone's list, as the app writes it. */
  entry: { id: string; path: string; name: string; size: number; type: string; created: number }
}

/** Announces and uploads a photo that nothing else in this file is like. */
async function backUp(options: { id?: string; path?: string; size?: number } = {}): Promise<Photo> {
  counter++
  const name = `IMG_${String(counter).padStart(4, '0')}.JPG`
  const path = options.path ?? `file:///var/mobile/Media/DCIM/100APPLE/${name}`
  const bytes = jpeg({ date: '2024:07:01 14:00:00', seed: `verdict ${counter}`, size: options.size ?? 3000 + counter })
  const entry = { id: options.id ?? `ID-${counter}`, path, name, size: 0, type: 'photo', created: TAKEN }
  await post(server.url, '/photos/new', { device_id: MODEL, files: [entry] })
  const { status, body } = await upload(server.url, bytes, {
    name,
    fields: { device_id: MODEL, original_path: path, file_type: 'photo', asset_id: entry.id },
  })
  expect(status).toBe(201)
  return { name, path, bytes, place: join(server.library, body.backup.file_path), entry }
}

async function verdict(files: readonly object[], device = MODEL): Promise<Answer> {
  return post(server.url, '/photos/verdict', { device_id: device, files })
}

// biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
async function verdictOf(file: object, device = MODEL): Promise<any> {
  const { status, body } = await verdict([file], device)
  expect(status).toBe(200)
  expect(body.count).toBe(1)
  expect(body.safe_count).toBe(body.files[0].safe ? 1 : 0)
  return body.files[0]
}

describe('what has just arrived', () => {
  it('is read back on the spot and is safe, with its checksum and its times', async () => {
    const before = Date.now()
    const photo = await backUp()
    const said = await verdictOf(photo.entry)
    expect(said).toEqual({
      ...photo.entry,
      safe: true,
      sha256: sha256(photo.bytes),
      stored_at: expect.stringMatching(/Z$/),
      verified_at: expect.stringMatching(/Z$/),
      copies: 1,
    })
    expect(Date.parse(said.stored_at)).toBeGreaterThanOrEqual(before)
    expect(Date.parse(said.verified_at)).toBeGreaterThanOrEqual(Date.parse(said.stored_at))
    // Asked again it has been read back already; or rather once the clocks of file systems, which go in steps, tell that apart.
    await until('it is not read back once more', async () => {
      const [again, after] = [await verdictOf(photo.entry), await verdictOf(photo.entry)]
      return after.verified_at === again.verified_at
    })
  })

  it('is found by its checksum, whatever path and device it is asked for under', async () => {
    const photo = await backUp()
    const stranger = { path: 'somewhere else', sha256: sha256(photo.bytes).toUpperCase() }
    expect(await verdictOf(stranger, 'iPad')).toMatchObject({ path: 'somewhere else', safe: true, copies: 1 })
  })

  it('is answered in the order of the list, each object with its own fields', async () => {
    const photos = [await backUp(), await backUp(), await backUp()]
    const files = [photos[2]?.entry, { path: 'nowhere', extra: [1] }, photos[0]?.entry, photos[1]?.entry]
    const { body } = await verdict(files as object[])
    expect(body).toMatchObject({ status: 'success', count: 4, safe_count: 3 })
    expect(body.files.map((file: { path: string }) => file.path)).toEqual(files.map((file) => file?.path))
    expect(body.files[1]).toMatchObject({ extra: [1], safe: false, reason: 'not_backed_up' })
    expect(body.files[0]).toMatchObject(photos[2]?.entry ?? {})
  })

  it('is compared without the fragment of its path', async () => {
    const photo = await backUp()
    expect(await verdictOf({ ...photo.entry, path: `${photo.path}#YnBsaXN0` })).toMatchObject({ safe: true })
  })

  it('is nothing, if the list is empty', async () => {
    expect((await verdict([])).body).toEqual({ status: 'success', files: [], safe_count: 0, count: 0 })
  })

  it('overrules what the phone itself says in fields of these names', async () => {
    const said = await verdictOf({ path: 'never sent', safe: true, reason: 'none', sha256: '0'.repeat(64) })
    expect(said).toMatchObject({ safe: false, reason: 'not_backed_up' })
  })

  it('refuses what is no list, as /photos/new does', async () => {
    for (const body of ['{', '{"files": 1}', '{"files": [{]}', '']) {
      expect((await post(server.url, '/photos/verdict', body)).status, body).toBe(400)
    }
  })
})

describe('what is not known to be there', () => {
  it('is not safe when it was never announced, is announced, or has failed', async () => {
    const entry = { path: 'file:///DCIM/PENDING.JPG', id: 'P', created: TAKEN }
    expect(await verdictOf(entry)).toMatchObject({ safe: false, reason: 'not_backed_up' })
    await post(server.url, '/photos/new', { device_id: MODEL, files: [entry] })
    expect(await verdictOf(entry)).toMatchObject({ safe: false, reason: 'pending' })
    const fields = { device_id: MODEL, original_path: entry.path, asset_id: 'P', sha256: '0'.repeat(64) }
    expect((await upload(server.url, jpeg({ seed: 'damaged' }), { fields })).status).toBe(422)
    const said = await verdictOf(entry)
    expect(said).toMatchObject({ safe: false, reason: 'failed' })
    expect(said.message).toContain('damaged')
  })

  it('is not safe when it is ignored and was never sent', async () => {
    const entry = { path: 'file:///DCIM/IGNORED.JPG', id: 'I' }
    await post(server.url, '/photos/ignore', { device_id: MODEL, files: [entry] })
    expect(await verdictOf(entry)).toMatchObject({ safe: false, reason: 'ignored' })
  })

  it('is not safe for another phone of that model, which calls another photo by that path', async () => {
    const hers = await backUp({ id: 'HERS' })
    const { path, name } = hers
    const size = hers.bytes.length
    for (const his of [
      { path, name, id: 'HIS', size: 0, created: TAKEN },
      { path, name, id: 'HIS', size, created: TAKEN },
      { path, name, size: 0, created: TAKEN - 2 * DAY },
      { path, name, size, created: TAKEN - 2 * DAY },
      { path, name, size: size + 1, created: TAKEN },
      { path, name, sha256: sha256(jpeg({ seed: 'his' })) },
      { path, name, id: 'HERS', sha256: sha256(jpeg({ seed: 'his' })) },
      // Nothing here says whose it is.
      { path, name },
      { path, name, size },
      { path, name, size: 0, type: 'photo', created: TAKEN + 1000 },
    ]) {
      expect(await verdictOf(his), JSON.stringify(his)).toMatchObject({ safe: false })
    }
    expect(await verdictOf({ path, name })).toMatchObject({ reason: 'not_identified' })
    expect(await verdictOf(hers.entry)).toMatchObject({ safe: true })
    expect(await verdictOf({ path, size, created: TAKEN + 1000 })).toMatchObject({ safe: true })
    expect(await verdictOf(hers.entry, 'iPhone 15')).toMatchObject({ safe: false, reason: 'not_backed_up' })
  })

  it('is not safe once it has been edited on the phone', async () => {
    const path = 'file:///DCIM/EDITED.JPG'
    const entry = { path, id: 'E', size: 0, created: TAKEN, modified: TAKEN }
    await post(server.url, '/photos/new', { device_id: MODEL, files: [entry] })
    const fields = { device_id: MODEL, original_path: path, asset_id: 'E' }
    expect((await upload(server.url, jpeg({ seed: 'edited 1' }), { fields })).status).toBe(201)
    expect(await verdictOf(entry)).toMatchObject({ safe: true })
    const edited = { ...entry, modified: TAKEN + DAY }
    expect(await verdictOf(edited)).toMatchObject({ safe: false, reason: 'not_backed_up' })
    await post(server.url, '/photos/new', { device_id: MODEL, files: [edited] })
    expect(await verdictOf(edited)).toMatchObject({ safe: false, reason: 'pending' })
    // One that does not say which version it has may have the new one.
    const { modified, ...silent } = edited
    expect(await verdictOf(silent)).toMatchObject({ safe: false, reason: 'pending' })
    expect(await verdictOf(entry)).toMatchObject({ safe: true })
  })
})

describe('what has come to harm on the drive', () => {
  it('is not safe when it has gone, though nobody has looked yet', async () => {
    const photo = await backUp()
    expect(await verdictOf(photo.entry)).toMatchObject({ safe: true })
    await rm(photo.place)
    expect(await verdictOf(photo.entry)).toMatchObject({ safe: false, reason: 'missing' })
    // And the phone is asked for it again.
    const asked = await post(server.url, '/photos/new', { device_id: MODEL, files: [photo.entry] })
    expect(asked.body).toMatchObject({ count: 1, backed_up_count: 0 })
  })

  it('is not safe when it was cut off', async () => {
    const photo = await backUp()
    expect(await verdictOf(photo.entry)).toMatchObject({ safe: true })
    await truncate(photo.place, 1000)
    expect(await verdictOf(photo.entry)).toMatchObject({ safe: false, reason: 'corrupt' })
  })

  it('is not safe when a bit has flipped, whatever its size and its time of change', async () => {
    const photo = await backUp()
    expect(await verdictOf(photo.entry)).toMatchObject({ safe: true })
    const { atime, mtime } = await stat(photo.place)
    const file = await open(photo.place, 'r+')
    const middle = photo.bytes.subarray(1500, 1501)
    await file.write(Buffer.of((middle[0] ?? 0) ^ 1), 0, 1, 1500)
    await file.close()
    await utimes(photo.place, atime, mtime)
    expect(await verdictOf({ path: 'x', sha256: sha256(photo.bytes) })).toMatchObject({
      safe: false,
      reason: 'corrupt',
    })
    expect(await verdictOf(photo.entry)).toMatchObject({ safe: false, reason: 'corrupt' })
  })

  it('is safe, when two photos have changed places, only once each is back in its own', async () => {
    const [one, other] = [await backUp({ size: 5000 }), await backUp({ size: 5000 })]
    expect((await verdict([one.entry, other.entry])).body).toMatchObject({ safe_count: 2 })
    await rename(one.place, `${one.place}.aside`)
    await rename(other.place, one.place)
    await rename(`${one.place}.aside`, other.place)
    // Whatever heals them, and when: what is called safe is right.
    await until('both are safe', async () => {
      const { body } = await verdict([one.entry, other.entry])
      for (const [index, photo] of [one, other].entries()) {
        if (body.files[index].safe) expect((await readFile(photo.place)).equals(photo.bytes)).toBe(true)
      }
      return body.safe_count === 2
    })
  })

  it('is not safe again before it has been read back in its new place', async () => {
    const photo = await backUp()
    await rm(photo.place)
    expect(await verdictOf(photo.entry)).toMatchObject({ safe: false })
    const fields = { device_id: MODEL, original_path: photo.path, asset_id: photo.entry.id }
    const { status } = await upload(server.url, photo.bytes, { name: photo.name, fields })
    expect(status).toBe(201)
    const { rows } = await client.query(`select verified_at from originals where checksum = decode($1, 'hex')`, [
      sha256(photo.bytes),
    ])
    expect(rows).toEqual([{ verified_at: null }])
    const said = await verdictOf(photo.entry)
    expect(said).toMatchObject({ safe: true })
    expect(said.verified_at >= said.stored_at).toBe(true)
  })

  it('is read again when trouble has made it doubtful', async () => {
    const photo = await backUp()
    const first = await verdictOf(photo.entry)
    await client.query(
      `update copies set recheck = true where place = 0 and path = (select path from files where checksum = decode($1, 'hex'))`,
      [sha256(photo.bytes)],
    )
    await until('the clock has gone on', async () => Date.now() > Date.parse(first.verified_at))
    expect((await verdictOf(photo.entry)).verified_at > first.verified_at).toBe(true)
  })
})

describe('while the drive is away', () => {
  it('nothing is safe, and each file says why', async () => {
    const photo = await backUp()
    expect(await verdictOf(photo.entry)).toMatchObject({ safe: true })
    const aside = `${server.library}.away`
    await rename(server.library, aside)
    try {
      const { status, body } = await verdict([photo.entry, { path: 'never sent' }])
      expect(status).toBe(200)
      expect(body).toMatchObject({ safe_count: 0, count: 2 })
      expect(body.files.map((file: { reason: string }) => file.reason)).toEqual(['drive_missing', 'not_backed_up'])
    } finally {
      await rename(aside, server.library)
    }
    expect(await verdictOf(photo.entry)).toMatchObject({ safe: true })
    // Not one original was taken for lost.
    const { body } = await get(server.url, '/library/health')
    expect(body.drive.present).toBe(true)
  })
})

describe('a long list', () => {
  it('is judged in one go, each path looked at once', async () => {
    const photo = await backUp()
    const files = Array.from({ length: 10_000 }, (_, index) =>
      index % 2 === 0 ? { ...photo.entry, index } : { path: `file:///DCIM/${index}.JPG`, id: String(index), index },
    )
    const { body } = await verdict(files)
    expect(body).toMatchObject({ count: 10_000, safe_count: 5_000 })
    expect(
      body.files.every(
        (file: { index: number; safe: boolean }, at: number) => file.index === at && file.safe === (at % 2 === 0),
      ),
    ).toBe(true)
  })
})

it('keeps the promise that docs/api.md makes of it', () => {
  const docs = readFileSync(new URL('../../docs/api.md', import.meta.url), 'utf8')
  for (const reason of [
    'not_backed_up',
    'ignored',
    'pending',
    'failed',
    'not_identified',
    'missing',
    'corrupt',
    'unreadable',
    'not_verified',
    'drive_missing',
    'invalid',
  ]) {
    expect(docs).toContain(`\`${reason}\``)
  }
})
