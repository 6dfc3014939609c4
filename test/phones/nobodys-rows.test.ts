import { randomBytes } from 'node:crypto'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type InProcessServer, startInProcess } from '../support/in-process.ts'
import { jpeg } from '../support/media.ts'
import { startTestDatabase } from '../support/postgres.ts'
import { makeFolder } from '../support/server.ts'
import { makePhone, send } from '../support/wire.ts'

/*
 * Rows of older servers do not say whose they are. They are nobody's then, and not everybody's; and the phones of a
 * household that has changed over go on as if nothing had happened.
 */

const PHONE = '127.0.0.2'
const GUEST = '127.0.0.3'
const TAKEN = Date.parse('2024-07-01T12:00:00Z')
const STORED = '2024-07-05T12:00:00Z'

let server: InProcessServer
beforeAll(async () => {
  server = await startInProcess(await makeFolder(), await startTestDatabase())
})
afterAll(() => server.stop())

const photoOf = (seed: string, size?: number) =>
  jpeg({ date: '2024:07:01 12:00:00', offset: '+00:00', seed, ...(size !== undefined && { size }) })

interface Left {
  status: 'Pending' | 'Completed' | 'Failed'
  id?: string
  created?: number
  announcedSize?: number
  /** Of the file in the library, which the row refers to; left out, there is none. */
  size?: number
  isLost?: boolean
}

let households = 0

/** A household whose older server has left this row. */
async function household({ status, id, created, announcedSize, size, isLost = false }: Left) {
  const model = `iPhone ${++households}`
  const name = `IMG_${households}.JPG`
  const path = `file:///var/mobile/Media/DCIM/100APPLE/${name}`
  const file = size === undefined ? null : `2024/08/${name}`
  const { db } = server
  if (file !== null) {
    await sql`insert into files (path, checksum, size, stored_at) values (
      ${file}, ${isLost ? null : randomBytes(32)}, ${size}, ${STORED}::timestamptz)`.execute(db)
  }
  if (isLost) {
    await sql`update copies set wanted_since = now(), lost_at = now() where path = ${file}`.execute(db)
    await sql`insert into findings (place, kind, path, found_at) values (0, 'missing', ${file}, now())`.execute(db)
  }
  await sql`insert into backups (
      device_id, original_path, asset_id, created, announced_size, file_name, file_type, file_path, file_size, timestamp, status, failure
    ) values (
      ${model}, ${path}, ${id ?? null}, ${created ?? null}, ${announcedSize ?? null}, ${name}, 'photo', ${file}, ${size ?? null},
      ${STORED}::timestamptz, ${status}, ${status === 'Failed' ? 'gone' : null}
    )`.execute(db)
  const port = Number(new URL(server.url).port)
  const list = async (from: string, route: string, entry: object) => {
    const body = JSON.stringify({ device_id: model, files: [entry] })
    const headers = { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) }
    const answer = await send({ port }, { method: 'POST', path: route, headers, body, from })
    expect(answer.status, answer.text).toBe(200)
    return answer.body
  }
  return {
    path,
    file,
    isAsked: async (entry: object, from = PHONE) => (await list(from, '/photos/new', { path, ...entry })).count === 1,
    ignore: (from: string, entry: object) => list(from, '/photos/ignore', { path, ...entry }),
    upload: async (from: string, bytes: Buffer, fields: Record<string, string> = {}) => {
      const answer = await makePhone({ port }, model, from).upload(bytes, {
        name,
        fields: { original_path: path, ...fields },
      })
      expect([200, 201], answer.text).toContain(answer.status)
      return answer.body.backup
    },
    seen: async (from: string, route: string) =>
      (await send({ port }, { path: `${route}device_id=${encodeURIComponent(model)}`, from })).text,
    rows: async () => {
      const { rows } = await sql<{ status: string; file: string | null }>`
        select status, file_path as file from backups where device_id = ${model} order by id`.execute(db)
      return rows.map((row) => [row.status, row.file])
    },
    isAlarmed: async () => {
      const { rows } =
        await sql`select from findings where path = ${file} and healed_at is null and accepted_at is null`.execute(db)
      return rows.length > 0
    },
  }
}

describe('what waits and is nobody’s', () => {
  const asset = { id: 'SECRET-ID', created: TAKEN }

  it('is completed by nobody who has but its path', async () => {
    for (const left of [{}, asset, { created: TAKEN }, { ...asset, announcedSize: 5000 }]) {
      const house = await household({ status: 'Pending', ...left })
      const { file_path } = await house.upload(GUEST, photoOf(`junk ${house.path}`))
      expect(await house.rows()).toEqual([
        ['Pending', null],
        ['Completed', file_path],
      ])
      expect(await house.isAsked(asset)).toBe(true)
    }
  })

  it('is completed by its id, or by its size and the date in the bytes, from anywhere', async () => {
    const byId = await household({ status: 'Pending', ...asset })
    await byId.upload(GUEST, photoOf('by id'), { asset_id: asset.id })
    const bytes = photoOf('by size and date')
    const byDate = await household({ status: 'Pending', ...asset, announcedSize: bytes.length })
    await byDate.upload(GUEST, bytes)
    for (const house of [byId, byDate]) expect(await house.rows()).toEqual([['Completed', expect.any(String)]])
  })

  it('tells nobody what it knows', async () => {
    const house = await household({ status: 'Pending', ...asset, announcedSize: 5000 })
    await house.ignore(GUEST, {})
    for (const route of ['/photos/ignored?', '/backup/log?status=Pending&', '/backup/log?']) {
      expect(await house.seen(GUEST, route)).not.toContain('SECRET-ID')
    }
    expect(await house.seen(GUEST, '/backup/log?status=Pending&')).not.toContain(house.path)
    expect(await house.isAsked(asset)).toBe(true)
  })

  it.each([{}, { id: 'A' }])('is of the phone that lists it next: %j', async (said) => {
    const house = await household({ status: 'Pending', ...said })
    expect(await house.isAsked(said)).toBe(true)
    await house.upload(PHONE, photoOf(`announced anew ${house.path}`))
    expect(await house.rows()).toEqual([['Completed', expect.any(String)]])
    expect(await house.isAsked({ ...said, created: TAKEN })).toBe(false)
  })
})

describe('what is backed up and is nobody’s', () => {
  it('is not asked for again, and tells nobody what it knows', async () => {
    const house = await household({
      status: 'Completed',
      id: 'SECRET-ID',
      created: TAKEN,
      announcedSize: 5000,
      size: 5000,
    })
    for (const entry of [{}, { created: TAKEN }, { id: 'SECRET-ID' }]) expect(await house.isAsked(entry)).toBe(false)
    await house.ignore(GUEST, { size: 5000, created: TAKEN })
    expect(await house.seen(GUEST, '/photos/ignored?')).not.toContain('SECRET-ID')
    const entry = { path: house.path, id: 'SECRET-ID', created: TAKEN }
    await house.ignore(PHONE, entry)
    expect(await house.seen(PHONE, '/photos/ignored?')).toContain('SECRET-ID')
  })
})

describe('what the Flask server has lost before anybody had read it', () => {
  // As the app has it.
  const listed = { id: 'A/L0/001', created: TAKEN, size: 0 }
  const SIZE = 20_000

  it('goes back to its place when a phone that was asked for it sends it', async () => {
    const house = await household({ status: 'Failed', size: SIZE, isLost: true })
    expect(await house.isAsked(listed)).toBe(true)
    expect((await house.upload(PHONE, photoOf('restored', SIZE))).file_path).toBe(house.file)
    expect(await house.isAsked(listed)).toBe(false)
    expect(await house.isAlarmed()).toBe(false)
  })

  it('has a place of its own beside what a phone sends of another size', async () => {
    const house = await household({ status: 'Failed', size: SIZE, isLost: true })
    await house.isAsked(listed)
    expect((await house.upload(PHONE, photoOf('longer', SIZE + 1))).file_path).not.toBe(house.file)
    expect(await house.isAlarmed()).toBe(true)
  })

  it('is no more than lost for a guest who sends what has its size, or ignores it', async () => {
    const house = await household({ status: 'Failed', size: SIZE, isLost: true })
    const { file_path } = await house.upload(GUEST, photoOf('by a guest', SIZE))
    expect(file_path).not.toBe(house.file)
    await house.ignore(GUEST, { size: SIZE })
    expect(await house.isAlarmed()).toBe(true)
    expect(await house.rows()).toEqual([
      ['Failed', house.file],
      ['Completed', file_path],
    ])
    expect(await house.isAsked(listed)).toBe(true)
  })

  it('is asked for also when a guest has announced it, too, and sent what has its size', async () => {
    const house = await household({ status: 'Failed', size: SIZE, isLost: true })
    await house.isAsked({ created: TAKEN }, GUEST)
    await house.upload(GUEST, photoOf('by a guest who has announced it', SIZE))
    for (const entry of [listed, { created: TAKEN }, {}]) expect(await house.isAsked(entry)).toBe(true)
  })
})
