import { spawnSync } from 'node:child_process'
import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jpeg } from '../support/media.ts'
import { command, needs } from '../support/needs.ts'
import { post, upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'
import { send } from '../support/wire.ts'

let database: TestDatabase
let client: pg.Client
let server: TestServer
/** What was scraped when there was the most to tell. */
let withFindings = ''

beforeAll(async () => {
  database = await startTestDatabase()
  client = new pg.Client(database.connection)
  // The last test takes its database away.
  client.on('error', () => {})
  await client.connect()
  const folder = await makeFolder()
  server = await startServer(folder, { DATABASE_URL: database.url, MIRROR_FOLDER: join(folder, 'mirror') })
})

afterAll(async () => {
  await server.stop()
  await client.end()
  await database.drop()
  await removeFolder(server.folder)
})

async function scrape(): Promise<string> {
  const response = await fetch(`${server.url}/metrics`)
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  return response.text()
}

/** The value of a series, such as `iclood_uploads_total{outcome="created"}`; undefined without it. */
const value = (text: string, series: string) => {
  const line = text.split('\n').find((line) => line.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}
const labels = (text: string, metric: string) => text.split('\n').filter((line) => line.startsWith(`${metric}{`)).length

const photo = jpeg({ date: '2024:07:01 12:00:00', seed: 'metrics' })
const send1 = (device: string) =>
  upload(server.url, photo, { fields: { device_id: device, original_path: 'file:///DCIM/1.JPG', asset_id: '1' } })

describe('uploads', () => {
  it('are counted by how they ended, with their bytes and the time they took', async () => {
    const before = await scrape()
    expect(value(before, 'iclood_uploads_total{outcome="created"}')).toBe(0)
    expect((await send1('iPhone')).status).toBe(201)
    expect((await send1('iPhone')).status).toBe(200)
    const wrong = { fields: { sha256: '0'.repeat(64) } }
    expect((await upload(server.url, jpeg({ seed: 'wrong' }), wrong)).status).toBe(422)
    const after = await scrape()
    expect(value(after, 'iclood_uploads_total{outcome="created"}')).toBe(1)
    expect(value(after, 'iclood_uploads_total{outcome="duplicate"}')).toBe(1)
    expect(value(after, 'iclood_uploads_total{outcome="checksum_mismatch"}')).toBe(1)
    expect(value(after, 'iclood_upload_bytes_total')).toBe(2 * photo.length)
    expect(value(after, 'iclood_upload_duration_seconds_count')).toBe(2)
    expect(value(after, 'iclood_upload_duration_seconds_bucket{le="+Inf"}')).toBe(2)
    expect(value(after, 'iclood_upload_duration_seconds_sum')).toBeGreaterThan(0)
    expect(value(after, 'iclood_uploads_under_way')).toBe(0)
  })
})

describe('the library', () => {
  it('is there by files and bytes, with the drive, the age of its proof and its mirror', async () => {
    const list = { device_id: 'iPhone', files: [{ path: 'file:///DCIM/1.JPG', id: '1' }] }
    expect((await post(server.url, '/photos/verdict', list)).body.safe_count).toBe(1)
    await client.query(`update copies set verified_at = now() - interval '1 hour' where place = 0`)
    const text = await until('the mirror has it', async () => {
      const text = await scrape()
      return value(text, 'iclood_mirror_lag_files') === 0 ? text : undefined
    })
    const files = (state: string) => value(text, `iclood_library_files{state="${state}"}`)
    expect({ intact: files('intact'), unverified: files('unverified') }).toEqual({ intact: 1, unverified: 0 })
    expect({ unread: files('unread'), missing: files('missing') }).toEqual({ unread: 0, missing: 0 })
    expect(value(text, 'iclood_library_bytes{state="intact"}')).toBe(photo.length)
    expect(value(text, 'iclood_drive_up')).toBe(1)
    expect(value(text, 'iclood_drive_free_bytes')).toBeGreaterThan(0)
    expect(value(text, 'iclood_drive_size_bytes')).toBeGreaterThan(value(text, 'iclood_drive_free_bytes') ?? 0)
    expect(value(text, 'iclood_mirror_up')).toBe(1)
    expect(value(text, 'iclood_mirror_lag_bytes')).toBe(0)
    expect(value(text, 'iclood_mirror_lag_seconds')).toBe(0)
    const age = value(text, 'iclood_verification_oldest_age_seconds') ?? 0
    expect(age).toBeGreaterThanOrEqual(3600)
    expect(age).toBeLessThan(3700)
    const last = value(text, 'iclood_device_last_backup_timestamp_seconds{device="iPhone"}') ?? 0
    expect(Math.abs(last - Date.now() / 1000)).toBeLessThan(100)
    expect(value(text, 'process_resident_memory_bytes')).toBeGreaterThan(1e6)
    expect(value(text, 'process_cpu_seconds_total')).toBeGreaterThan(0)
  })

  it('shows its findings', async () => {
    const bytes = jpeg({ date: '2024:07:01 12:00:00', seed: 'lost' })
    const fields = { device_id: 'iPad', original_path: 'file:///DCIM/2.JPG', asset_id: '2' }
    const { body } = await upload(server.url, bytes, { name: 'LOST.JPG', fields })
    await rename(join(server.folder, 'mirror'), join(server.folder, 'away'))
    await rm(join(server.library, body.backup.file_path))
    await rm(join(server.folder, 'away', body.backup.file_path), { force: true })
    await post(server.url, '/photos/verdict', { device_id: 'iPad', files: [{ path: fields.original_path, id: '2' }] })
    const text = await scrape()
    expect(value(text, 'iclood_findings{copy="library",kind="missing"}')).toBe(1)
    expect(value(text, 'iclood_library_files{state="missing"}')).toBe(1)
    expect(value(text, 'iclood_problems')).toBeGreaterThan(0)
    withFindings = text
    await rename(join(server.folder, 'away'), join(server.folder, 'mirror'))
    await upload(server.url, bytes, { name: 'LOST.JPG', fields })
  })

  it('has no number for what is not known while the drive is away', async () => {
    await rename(server.library, `${server.library}.away`)
    const text = await scrape()
    await rename(`${server.library}.away`, server.library)
    expect(value(text, 'iclood_drive_up')).toBe(0)
    expect(text).not.toContain('iclood_drive_free_bytes')
    expect(value(text, 'iclood_library_files{state="intact"}')).toBeGreaterThan(0)
  })
})

describe('labels', () => {
  it('are bounded: of thousands of devices those that have backed up for the longest time have a series', async () => {
    await client.query(`
      insert into backups (device_id, file_name, file_type, timestamp, status)
      select 'device ' || number, 'x', 'photo', now() - days * (3001 - number) * interval '1 minute', 'Completed'
      from generate_series(1, 3000) as number, generate_series(0, 1) as days`)
    const text = await scrape()
    expect(labels(text, 'iclood_device_last_backup_timestamp_seconds')).toBe(50)
    expect(value(text, 'iclood_device_last_backup_timestamp_seconds{device="device 1"}')).toBeDefined()
    expect(value(text, 'iclood_device_last_backup_timestamp_seconds{device="device 51"}')).toBeUndefined()
  })

  it('are clean, whatever a device calls itself', async () => {
    const names = ['a"} 1\n# HELP evil', 'back\\slash', `${'long'.repeat(60)}`, '\u202e\u0007', 'Müllers iPhone']
    // They have backed up more, and for longer, than the thousands of the test before.
    for (const [index, name] of names.entries()) {
      await client.query(
        `insert into backups (device_id, file_name, file_type, timestamp, status)
         select $1, 'x', 'photo', now() - days * interval '9 days' + $2 * interval '1 second', 'Completed'
         from generate_series(0, 2) as days`,
        [name, index],
      )
    }
    const text = await scrape()
    expect(text).toContain('{device="a\\"} 1 # HELP evil"}')
    expect(text).toContain('{device="back\\\\slash"}')
    expect(text).toContain(`{device="${'long'.repeat(16)}"}`)
    expect(text).toContain('{device="Müllers iPhone"}')
    expect(text).not.toMatch(/^# HELP evil/m)
    for (const command of ['\u202e', '\u0007']) expect(text).not.toContain(command)
  })
})

describe('the text', () => {
  it('has nothing that promtool complains of', needs(command('promtool', 'prometheus')), async () => {
    expect(withFindings).toContain('iclood_findings')
    for (const input of [withFindings, await scrape()]) {
      const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input, encoding: 'utf8' })
      expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' })
    }
  })

  it('has each metric once', async () => {
    const names = (await scrape()).split('\n').filter((line) => line.startsWith('# TYPE'))
    expect(new Set(names).size).toBe(names.length)
  })

  it('is for the home network alone', async () => {
    const answer = await send(server, { path: '/metrics', headers: { 'x-forwarded-for': '8.8.8.8' } })
    expect(answer.status).toBe(401)
  })

  it('is there also without the database, and says so', async () => {
    await database.drop()
    const text = await scrape()
    expect(value(text, 'iclood_database_up')).toBe(0)
    expect(value(text, 'iclood_uploads_total{outcome="created"}')).toBeGreaterThan(0)
    expect(text).not.toContain('iclood_library_files')
  })
})
