import { open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCommand } from '../support/command.ts'
import { drive, makeDrive, type TestDrive } from '../support/drives.ts'
import { jpeg, mov } from '../support/media.ts'
import { needs } from '../support/needs.ts'
import { get, post, upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

const PHONE = 'iPhone 16'

let database: TestDatabase
let client: pg.Client
let folder: string
let settings: Record<string, string>
let server: TestServer

beforeAll(async () => {
  database = await startTestDatabase()
  client = new pg.Client(database.connection)
  // The last test takes its database away.
  client.on('error', () => {})
  await client.connect()
  folder = await makeFolder()
  settings = { DATABASE_URL: database.url, MIRROR_FOLDER: join(folder, 'mirror') }
  server = await startServer(folder, settings)
})

afterAll(async () => {
  await server.stop()
  await client.end()
  await database.drop()
  await removeFolder(folder)
})

// biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
async function health(): Promise<any> {
  const { status, body } = await get(server.url, '/library/health')
  expect(status).toBe(200)
  expect(body.healthy).toBe(body.problems.length === 0)
  return body
}

const status = (...args: string[]) => runCommand(folder, ['status', ...args], settings)
const keys = (report: { problems: { key: string }[] }) => report.problems.map(({ key }) => key)
const away = (path: string) => rename(path, `${path}.away`)
const back = (path: string) => rename(`${path}.away`, path)
const mirrorIsThere = () => until('the mirror is there', async () => (await health()).mirror?.state === 'ok')

describe('a new library', () => {
  it('is well, and has nothing', async () => {
    await mirrorIsThere()
    expect(await health()).toMatchObject({
      status: 'success',
      healthy: true,
      problems: [],
      files: { total: { files: 0, bytes: 0 }, intact: { files: 0 }, unverified: { files: 0 }, missing: { files: 0 } },
      verification: { oldest: null, next_due: null, overdue_since: null },
      findings: { open: 0, by_kind: {}, list: [] },
      drive: { present: true, reason: null },
      mirror: { state: 'ok', lag_files: 0 },
      devices: [],
      last_backup: null,
    })
  })

  it('is well in the words of the command, too', async () => {
    const { code, stdout, stderr } = await status()
    expect(stdout).toMatch(/^All is well\.\n/)
    expect(stdout).toContain('no phone has backed up anything yet')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  })
})

describe('photos', () => {
  const photo = jpeg({ date: '2024:07:01 12:00:00', seed: 'health' })
  const entry = { path: 'file:///DCIM/IMG_0001.JPG', id: 'A' }
  const send = () =>
    upload(server.url, photo, { fields: { device_id: PHONE, original_path: entry.path, asset_id: 'A' } })
  let path: string

  it('are counted by what is known of them', async () => {
    path = (await send()).body.backup.file_path
    const film = mov({ seed: 'film' })
    await upload(server.url, film, { name: 'film.MOV', fields: { device_id: 'iPad' } })
    const report = await health()
    expect(report.files.total).toEqual({ files: 2, bytes: photo.length + film.length })
    expect(report.files.intact.files + report.files.unverified.files).toBe(2)
    expect(report).toMatchObject({ healthy: true, photo_count: 1, video_count: 1 })
    expect(report.devices.map((device: { device_id: string }) => device.device_id)).toEqual(['iPad', PHONE])
    expect(report.devices[1]).toMatchObject({ completed: 1, failed: 0, pending: 0, quiet: false })
    expect(report.last_backup).toBe(report.devices[0].last_backup)
  })

  it('count as intact when they have been read back', async () => {
    const before = new Date().toISOString()
    await client.query('update copies set recheck = true where place = 0')
    const sent = { device_id: PHONE, files: [entry] }
    expect((await post(server.url, '/photos/verdict', sent)).body).toMatchObject({ safe_count: 1 })
    const { files, verification } = await health()
    expect(files.intact.files).toBeGreaterThan(0)
    expect(files.intact.bytes).toBeGreaterThan(0)
    expect(verification.oldest > before || files.intact.files === 2).toBe(true)
    expect(verification.next_due).not.toBeNull()
  })

  it('that have gone are a problem until they are back', async () => {
    await rm(join(server.library, path))
    await away(settings['MIRROR_FOLDER'] ?? '')
    await post(server.url, '/photos/verdict', { device_id: PHONE, files: [entry] })
    const report = await health()
    expect(keys(report)).toContain('findings:missing')
    expect(report.files.missing).toEqual({ files: 1, bytes: photo.length })
    expect(report.findings).toMatchObject({ open: 1, by_kind: { missing: 1 } })
    expect(report.findings.list[0]).toMatchObject({
      copy: 'library',
      kind: 'missing',
      path,
    })
    expect(await status()).toMatchObject({ code: 1, stderr: '', stdout: expect.stringContaining('1 photo is missing') })
    expect((await send()).status).toBe(201)
    await back(settings['MIRROR_FOLDER'] ?? '')
    await mirrorIsThere()
    expect(await health()).toMatchObject({ healthy: true, files: { missing: { files: 0 } }, findings: { open: 0 } })
  })
})

describe('the drive', () => {
  it('that is away is named, and everything else is still told', async () => {
    await away(server.library)
    try {
      const report = await health()
      expect(keys(report)).toEqual(['drive_missing'])
      expect(report.problems[0]).toMatchObject({ severity: 'error', title: 'The drive is missing' })
      expect(report.drive).toMatchObject({ present: false, free_bytes: null, total_bytes: null })
      expect(report.files.total.files).toBe(2)
      const { code, stdout } = await status()
      expect(code).toBe(1)
      expect(stdout).toMatch(/^Something is wrong:/)
      expect(stdout).toContain('! The drive is missing')
      const json = await status('--json')
      expect(json.code).toBe(1)
      expect(keys(JSON.parse(json.stdout))).toEqual(['drive_missing'])
    } finally {
      await back(server.library)
    }
    expect(await health()).toMatchObject({ healthy: true, drive: { present: true } })
  })

  it('with the second copy is named when it is away', async () => {
    await away(settings['MIRROR_FOLDER'] ?? '')
    try {
      const report = await until('the mirror is missed', async () => {
        const report = await health()
        return report.healthy ? undefined : report
      })
      expect(keys(report)).toEqual(['mirror_missing'])
      expect(report.mirror).toMatchObject({ state: 'missing' })
      expect((await status()).code).toBe(1)
    } finally {
      await back(settings['MIRROR_FOLDER'] ?? '')
    }
    await mirrorIsThere()
  })
})

describe('phones', () => {
  const makeOlder = async (device: string, days: number) => {
    // One that comes by itself: what has sent something once is not waited for.
    await client.query('insert into devices (device_id, has_announced) values ($1, true) on conflict do nothing', [
      device,
    ])
    await client.query(`update backups set timestamp = timestamp - $2 * interval '1 day' where device_id = $1`, [
      device,
      days,
    ])
  }

  it('that have not backed up for a week are named', async () => {
    await makeOlder('iPad', 6.9)
    expect(await health()).toMatchObject({ healthy: true })
    await makeOlder('iPad', 0.2)
    const report = await health()
    expect(keys(report)).toEqual(['quiet:iPad'])
    expect(report.problems[0]).toMatchObject({ severity: 'warning', title: '"iPad" has not backed up for 7 days' })
    expect(report.devices.find((device: { device_id: string }) => device.device_id === 'iPad').quiet).toBe(true)
    const { code, stdout } = await status()
    expect(code).toBe(1)
    expect(stdout).toContain('! "iPad" has not backed up for 7 days')
    await makeOlder('iPad', -7.1)
    expect(await health()).toMatchObject({ healthy: true })
  })

  it('that have never got anything here are named, too, and so is one without a name', async () => {
    await post(server.url, '/photos/new', { device_id: 'iPod', files: [{ path: '1' }, { path: '2' }] })
    await post(server.url, '/photos/new', { files: [{ path: '1' }] })
    expect(await health()).toMatchObject({ healthy: true })
    await client.query(`update backup_totals set since = since - interval '8 days' where status = 'Pending'`)
    const report = await health()
    expect(keys(report).sort()).toEqual(['quiet:iPod', 'quiet:unknown'])
    const titles = report.problems.map((problem: { title: string }) => problem.title).sort()
    expect(titles).toEqual([
      '"iPod" has never backed up anything',
      'A phone without a name has never backed up anything',
    ])
    expect(report.devices.at(-1)).toMatchObject({ last_backup: null, completed: 0 })
    await client.query(`delete from backups where status = 'Pending'`)
    expect(await health()).toMatchObject({ healthy: true })
  })

  it('with hostile names do not reach the terminal as commands', async () => {
    const name = 'evil\u001b[2J\u202ephone'
    await upload(server.url, jpeg({ seed: 'evil' }), { fields: { device_id: name } })
    await makeOlder(name, 30)
    const { stdout } = await status()
    expect(stdout).toContain('"evil 2Jphone" has not backed up for 30 days')
    for (const command of ['\u001b', '\u202e']) expect(stdout).not.toContain(command)
    await client.query('update backups set timestamp = now() where device_id = $1', [name])
  })
})

describe('without the server', () => {
  it('the command says the same, and that reading back is overdue', async () => {
    await server.stop()
    expect((await status()).code).toBe(0)
    await client.query(`update copies set verified_at = now() - interval '32 days', recheck = false where place = 0`)
    const { code, stdout } = await status()
    expect(code).toBe(1)
    expect(stdout).toContain('! The photos on the drive have not been checked in time')
    const report = JSON.parse((await status('--json')).stdout)
    expect(keys(report)).toEqual(['verification_overdue'])
    expect(report.verification.overdue_since).not.toBeNull()
    await client.query(`update copies set verified_at = now() where place = 0`)
    expect((await status()).code).toBe(0)
    server = await startServer(folder, settings)
  })

  it('a library that nobody has ever read back is not late before its first month is over', async () => {
    await server.stop()
    await client.query(`update copies set verified_at = null, copied_at = '2019-01-01' where place = 0`)
    expect((await status()).code).toBe(0)
    await client.query(`update places set since = now() - interval '32 days'`)
    expect((await status()).code).toBe(1)
    await client.query('update copies set verified_at = now() where place = 0')
    await client.query('update places set since = now()')
    server = await startServer(folder, settings)
  })

  it('says what to do where there is no library yet', async () => {
    const empty = await makeFolder()
    try {
      const { code, stdout } = await runCommand(empty, ['status'])
      expect(code).toBe(1)
      expect(stdout).toContain('Start the server once')
    } finally {
      await removeFolder(empty)
    }
  })

  it('could not find out, if there is no database', async () => {
    const { code, stdout, stderr } = await runCommand(folder, ['status'], {
      DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none',
    })
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain('database')
  })
})

describe('a full drive', needs(drive('tmpfs')), () => {
  let small: TestDrive
  const fill = async (megabytes: number) => {
    const file = await open(join(small.path, 'ballast'), 'w')
    await file.writeFile(Buffer.alloc(megabytes * 1024 * 1024, 1))
    await file.close()
  }

  it('is a problem over nine tenths, and worse when nothing fits any more', async () => {
    small = await makeDrive('tmpfs', 20 * 1024 * 1024)
    const home = await makeFolder()
    const env = { UPLOAD_FOLDER: join(small.path, 'photos'), MIN_FREE_SPACE: '1' }
    const other = await startServer(home, env)
    const report = async () => (await get(other.url, '/library/health')).body
    try {
      await fill(17)
      await until('the server is ready', async () => (await report()).healthy)
      await fill(18.5)
      expect((await report()).problems).toMatchObject([{ key: 'drive_full', severity: 'warning' }])
      expect((await report()).problems[0].title).toMatch(/^The drive is 9\d % full$/)
      await fill(19.5)
      expect((await report()).problems).toMatchObject([{ key: 'drive_full', severity: 'error' }])
      const { code, stdout } = await runCommand(home, ['status'], env)
      expect(code).toBe(1)
      expect(stdout).toContain('! The drive is full')
      await fill(1)
      expect(await report()).toMatchObject({ healthy: true })
    } finally {
      await other.stop()
      await removeFolder(home)
      await small.remove()
    }
  })
})

describe('without its database', () => {
  it('the server can’t say how it is, and says so', async () => {
    await database.drop()
    const { status: code, body, headers } = await get(server.url, '/library/health')
    expect({ code, word: body.code }).toEqual({ code: 503, word: 'database_unavailable' })
    expect(headers.get('retry-after')).not.toBeNull()
  })
})
