import { mkdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { runCommand } from '../support/command.ts'
import { jpeg } from '../support/media.ts'
import { type Answer, get, post, upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { startReceiver, type TestReceiver } from '../support/receiver.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/wire.ts'

let database: TestDatabase
let client: pg.Client
let folder: string
let hook: TestReceiver
let settings: Record<string, string>
let server: TestServer
let photos = 0

const start = async () => {
  server = await startServer(folder, settings)
}

beforeAll(async () => {
  database = await startTestDatabase()
  client = new pg.Client(database.connection)
  await client.connect()
  folder = await makeFolder()
  hook = await startReceiver()
  settings = { DATABASE_URL: database.url, NOTIFY_URL: `http://127.0.0.1:${hook.port}/` }
  await start()
})

afterAll(async () => {
  await server.stop()
  await hook.stop()
  await client.end()
  await database.drop()
  await removeFolder(folder)
})

interface Photo {
  device: string
  entry: { path: string; id: string; created: number }
  bytes: Buffer
  /** In the library. */
  path: string
}

const CREATED = Date.UTC(2024, 6, 1, 10)

/** Announces a photo and sends it, as the app does. */
async function backUp(device = 'iPhone'): Promise<Photo> {
  photos += 1
  const name = `IMG_${photos}.JPG`
  const entry = { path: `file:///DCIM/${name}`, id: `${name}/L0/001`, created: CREATED }
  const bytes = jpeg({ date: '2024:07:01 12:00:00', seed: `alarms ${photos}` })
  await offer(device, entry)
  const photo = { device, entry, bytes, path: '' }
  return { ...photo, path: (await send(photo)).body.backup.file_path }
}

function send({ device, entry, bytes }: Photo): Promise<Answer> {
  const fields = { device_id: device, original_path: entry.path, asset_id: entry.id }
  return upload(server.url, bytes, { name: basename(entry.path), fields })
}

const offer = async (device: string, ...files: object[]) => {
  const { body } = await post(server.url, '/photos/new', { device_id: device, files })
  expect(body).toMatchObject({ status: 'success' })
  return body
}
const isAsked = async ({ device, entry }: Photo) => (await offer(device, entry)).count === 1
const ignore = ({ device, entry }: Photo) => post(server.url, '/photos/ignore', { device_id: device, files: [entry] })
const verdict = async ({ device, entry }: Photo) => {
  const { body } = await post(server.url, '/photos/verdict', { device_id: device, files: [entry] })
  expect(body).toMatchObject({ status: 'success' })
  return body.files[0]
}
const place = (path: string) => join(server.library, path)
const remove = ({ path }: Photo) => rm(place(path))
const run = (...args: string[]) => runCommand(folder, args, settings)
const verify = async () => {
  const { stdout, code } = await run('verify', '--json')
  return { code, ...JSON.parse(stdout) }
}
// biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
const health = async (): Promise<any> => (await get(server.url, '/library/health')).body
const keys = async () => (await health()).problems.map(({ key }: { key: string }) => key)
const told = (from = 0) => hook.received.slice(from).map(({ body }) => JSON.parse(body))
const toldOf = (key: string, from = 0) => told(from).filter((notice) => notice.key === key)

/** Whoever asks how things are makes the server look at once. */
const untilTold = (what: string, key: string, from: number, count = 1) =>
  until(what, async () => {
    await health()
    return toldOf(key, from).length >= count
  })

const sums = async (path: string) => readFile(join(place(dirname(path)), 'SHA256SUMS'), 'utf8')

beforeEach(async () => {
  await until('the last alarm is over', async () => (await health()).healthy)
})

describe('a photo that was deleted from the drive', () => {
  it('is no problem any more when it is ignored: also in the mail, the sums, the journal and the verdict', async () => {
    const before = hook.received.length
    const photo = await backUp()
    await backUp()
    await remove(photo)
    expect((await verify()).code).toBe(1)
    expect(await keys()).toEqual(['findings:missing'])
    await untilTold('people have heard', 'findings:missing', before)
    expect((await ignore(photo)).body).toMatchObject({ status: 'success', ignored_count: 1 })
    expect(await health()).toMatchObject({ healthy: true, findings: { open: 0 }, files: { missing: { files: 0 } } })
    expect((await run('status')).stdout).toMatch(/^All is well\./)
    await untilTold('people have heard that it is over', 'findings:missing', before, 2)
    expect(toldOf('findings:missing', before).map(({ event }) => event)).toEqual(['raised', 'cleared'])

    expect(await verify()).toMatchObject({ code: 0, status: 'clean', findings: [] })
    expect(await isAsked(photo)).toBe(false)
    expect(await verdict(photo)).toMatchObject({ safe: false, reason: 'ignored' })
    await until('it has lost its line', async () => !(await sums(photo.path)).includes(basename(photo.path)))

    await post(server.url, '/photos/unignore', { device_id: photo.device, files: [photo.entry] })
    expect(await verdict(photo)).toMatchObject({ safe: false })
    expect(await isAsked(photo)).toBe(true)
    expect((await send(photo)).status).toBe(201)
    expect(await isAsked(photo)).toBe(false)
  })

  it('is none if it was ignored before anybody missed it, or before it was deleted', async () => {
    const [first, second] = [await backUp(), await backUp()]
    await remove(first)
    await ignore(first)
    await ignore(second)
    await remove(second)
    expect((await verify()).code).toBe(0)
    expect(await verify()).toMatchObject({ code: 0, findings: [] })
    expect(await health()).toMatchObject({ healthy: true, files: { missing: { files: 0 } } })
  })

  it('stays one for as long as somebody else wants it', async () => {
    const photo = await backUp()
    const other = { ...photo, device: 'iPad' }
    expect((await send(other)).status).toBe(200)
    await remove(photo)
    await ignore(photo)
    expect((await verify()).code).toBe(1)
    expect(await keys()).toEqual(['findings:missing'])
    expect(await isAsked(photo)).toBe(false)
    expect(await isAsked(other)).toBe(true)
    await ignore(other)
    expect(await health()).toMatchObject({ healthy: true })
  })

  it('stays accepted when the database is lost, and rebuilt from the drive', async () => {
    const [ignored, accepted, kept] = [await backUp(), await backUp(), await backUp()]
    await remove(ignored)
    await remove(accepted)
    expect((await verify()).findings).toHaveLength(2)
    await ignore(ignored)
    expect((await run('accept', accepted.path)).code).toBe(0)
    expect(await health()).toMatchObject({ healthy: true })
    await server.stop()

    const fresh = await startTestDatabase()
    const other = { ...settings, DATABASE_URL: fresh.url }
    try {
      expect(await runCommand(folder, ['rebuild'], other)).toMatchObject({ code: 0 })
      expect(await runCommand(folder, ['verify'], other)).toMatchObject({ code: 0 })
      expect((await runCommand(folder, ['status'], other)).stdout).toMatch(/^All is well\./)
      server = await startServer(folder, other)
      expect(await isAsked(ignored)).toBe(false)
      expect(await isAsked(accepted)).toBe(true)
      expect(await isAsked(kept)).toBe(false)
      await server.stop()
    } finally {
      await fresh.drop()
      await start()
    }
  })
})

describe('accept', () => {
  it('lists what there is, and takes numbers, paths and kinds, with a server and without one', async () => {
    const lost = [await backUp(), await backUp(), await backUp(), await backUp()]
    for (const photo of lost) await remove(photo)
    await verify()
    const listed = await run('accept')
    expect(listed).toMatchObject({ code: 0, stderr: '' })
    for (const { path } of lost) expect(listed.stdout).toContain(`${path}: it is not on the drive any more`)
    const { findings } = await health()
    const idOf = (photo: Photo | undefined) =>
      findings.list.find((finding: { path: string }) => finding.path === photo?.path).id

    expect((await run('accept', String(idOf(lost[0])))).stdout).toContain('Accepted 1 finding:')
    expect((await run('accept', '--json', place(lost[1]?.path ?? ''))).code).toBe(0)
    const answer = await post(server.url, '/library/findings/accept', { ids: [idOf(lost[2])] })
    expect(answer).toMatchObject({ status: 200, body: { accepted_count: 1, accepted: [{ path: lost[2]?.path }] } })
    expect((await health()).findings.open).toBe(1)
    await server.stop()
    expect((await run('accept', '--kind', 'missing')).code).toBe(0)
    expect((await run('status')).code).toBe(0)
    expect((await run('accept')).stdout).toBe('There is nothing to accept.\n')
    await start()
    // The drive learns of what was accepted while nobody was there to write it down.
    await until(
      'the sums forget them',
      async () => !(await sums(lost[3]?.path ?? '')).includes(basename(lost[3]?.path ?? '')),
    )
    for (const photo of lost) expect(await verdict(photo)).toMatchObject({ safe: false })
    expect((await verify()).code).toBe(0)
  })

  it('refuses what is no open finding, and then accepts nothing', async () => {
    const photo = await backUp()
    await remove(photo)
    await verify()
    const wrong = await run('accept', photo.path, '2024/07/NOBODY.JPG')
    expect(wrong).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('2024/07/NOBODY.JPG') })
    const accept = (body: unknown) => post(server.url, '/library/findings/accept', body)
    expect(await accept({ ids: [4_000_000_000_000] })).toMatchObject({ status: 404, body: { code: 'not_found' } })
    for (const body of [{}, { kind: 'other' }, { ids: ['x'] }, { paths: ['\0'] }, '[', '', '[1]', '{"ids":1e400}']) {
      expect(await accept(body), JSON.stringify(body)).toMatchObject({ status: 400, body: { code: 'invalid_request' } })
    }
    expect((await run('accept', '--kind', 'other')).code).toBe(2)
    const foreign = await fetch(`${server.url}/library/findings/accept`, {
      method: 'POST',
      headers: { origin: 'https://evil.example', 'content-type': 'text/plain' },
      body: JSON.stringify({ kind: 'missing' }),
    })
    expect(foreign.status).toBe(403)
    expect(await keys()).toEqual(['findings:missing'])
    expect(await accept({ kind: 'missing' })).toMatchObject({ status: 200, body: { accepted_count: 1 } })
    expect(await accept({ kind: 'missing' })).toMatchObject({ status: 200, body: { accepted_count: 0 } })
  })

  it('ends with what was accepted: what is damaged anew is told anew', async () => {
    const photo = await backUp()
    const before = hook.received.length
    await remove(photo)
    await verify()
    await run('accept', photo.path)
    expect(await health()).toMatchObject({ healthy: true })
    expect(await isAsked(photo)).toBe(true)
    const path = (await send(photo)).body.backup.file_path
    await rm(place(path))
    expect((await verify()).code).toBe(1)
    await untilTold('people have heard', 'findings:missing', before)
    await run('accept', path)
  })

  it('of a file that is no photo lasts for as long as it lies there', async () => {
    const { path } = await backUp()
    const stranger = join(dirname(path), 'notes.txt')
    const old = new Date(Date.now() - 3_600_000)
    const put = async () => {
      await writeFile(place(stranger), 'not a photo')
      await utimes(place(stranger), old, old)
    }
    await put()
    expect((await verify()).findings).toMatchObject([{ kind: 'unknown', path: stranger, accepted_at: null }])
    expect((await run('accept', stranger)).code).toBe(0)
    expect(await health()).toMatchObject({ healthy: true })
    expect(await verify()).toMatchObject({ code: 0, status: 'clean', findings: [{ kind: 'unknown', path: stranger }] })
    await rm(place(stranger))
    expect(await verify()).toMatchObject({ code: 0, findings: [] })
    await put()
    expect((await verify()).code).toBe(1)
    expect(await keys()).toEqual(['findings:unknown'])
    await rm(place(stranger))
    await verify()
  })

  it('of a file that can’t be read leaves it where it is, and never calls it safe', async () => {
    const photo = await backUp()
    const elsewhere = join(folder, 'elsewhere')
    await rename(place(photo.path), elsewhere)
    await mkdir(place(photo.path))
    expect((await verify()).findings).toMatchObject([{ kind: 'unreadable', path: photo.path }])
    await run('accept', photo.path)
    expect(await health()).toMatchObject({ healthy: true })
    expect((await stat(place(photo.path))).isDirectory()).toBe(true)
    expect(await verify()).toMatchObject({ code: 0, findings: [{ kind: 'unreadable' }] })
    expect(await verdict(photo)).toMatchObject({ safe: false })
    await rm(place(photo.path), { recursive: true })
    await rename(elsewhere, place(photo.path))
    expect((await verify()).findings).toEqual([])
    expect((await health()).files.missing.files).toBe(0)
  })
})

describe('people', () => {
  it('hear of the first loss at once and of further ones, not of each; also after a restart', async () => {
    const lost: Photo[] = []
    for (let count = 0; count < 12; count++) lost.push(await backUp())
    const before = hook.received.length
    for (const photo of lost.slice(0, 1)) await remove(photo)
    await verify()
    await untilTold('people have heard of the first', 'findings:missing', before)
    for (const photo of lost.slice(1, 11)) await remove(photo)
    await verify()
    await server.stop()
    await client.query(
      `update alerts set began_at = began_at - interval '30 s', raised_at = raised_at - interval '30 s'`,
    )
    await start()
    await untilTold('people have heard of the others', 'findings:missing', before, 2)
    const [first, second] = toldOf('findings:missing', before)
    expect(first).toMatchObject({ event: 'raised', title: '1 photo is missing from the drive' })
    expect(second).toMatchObject({ event: 'raised', title: '11 photos are missing from the drive (10 new)' })
    await run('accept', '--kind', 'missing')
    await untilTold('people have heard that it is over', 'findings:missing', before, 3)
    expect(toldOf('findings:missing', before)).toHaveLength(3)
  })

  it('hear of damage that was healed at once, and it is counted; nothing is wrong for that', async () => {
    const photo = await backUp()
    const before = hook.received.length
    const counted = async () => {
      const text = await (await fetch(`${server.url}/metrics`)).text()
      return Number(/^iclood_findings_healed_total\{copy="library",kind="corrupt"\} (\d+)$/m.exec(text)?.[1])
    }
    expect(await counted()).toBe(0)
    // The same bytes lie there under another name: it is healed from them.
    await writeFile(place(join(dirname(photo.path), 'copy of it.jpg')), photo.bytes)
    const rotten = Buffer.from(photo.bytes)
    rotten.writeUInt8(rotten.readUInt8(100) ^ 1, 100)
    await writeFile(place(photo.path), rotten)
    const { findings } = await verify()
    expect(findings.find(({ kind }: { kind: string }) => kind === 'corrupt')).toMatchObject({ healed_by: /./ })
    expect(await counted()).toBe(1)
    const report = await health()
    expect(report.findings.healed).toMatchObject({ corrupt: 1 })
    await rm(place(join(dirname(photo.path), 'copy of it.jpg')))
    await verify()
    await untilTold('people have heard', 'healed', before)
    expect(toldOf('healed', before)).toMatchObject([
      { event: 'noted', severity: 'warning', title: expect.stringContaining('1 damaged or missing photo') },
    ])
    const page = await run('status')
    expect(page).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^All is well\.[\s\S]*\* 1 damaged or missing/),
    })
  })
})

describe('a phone', () => {
  const age = async (device: string, days: number) => {
    const args = [device, days]
    await client.query(`update backups set timestamp = timestamp - $2 * interval '1 day' where device_id = $1`, args)
    await client.query(`update devices set last_seen = last_seen - $2 * interval '1 day' where device_id = $1`, args)
  }

  it('that looks in is alive, also with nothing new', async () => {
    const photo = await backUp('iPhone SE')
    await age('iPhone SE', 9)
    expect(await keys()).toEqual(['quiet:iPhone SE'])
    expect(await isAsked(photo)).toBe(false)
    expect(await keys()).toEqual([])
    await age('iPhone SE', 9)
    expect((await health()).problems).toMatchObject([{ title: '"iPhone SE" has not looked in for 9 days' }])
    await verdict(photo)
    expect(await keys()).toEqual([])
  })

  it('is not what has sent something once', async () => {
    await upload(server.url, jpeg({ seed: 'script' }), { fields: { device_id: 'a script' } })
    await age('a script', 100)
    expect(await keys()).toEqual([])
    await upload(server.url, jpeg({ seed: 'script again' }), { fields: { device_id: 'a script' } })
    await age('a script', 8)
    expect(await keys()).toEqual(['quiet:a script'])
    expect((await run('forget', 'a script')).code).toBe(0)
  })

  it('that is forgotten is not waited for until it is heard of again', async () => {
    const photo = await backUp('iPhone 4')
    await age('iPhone 4', 30)
    expect(await keys()).toEqual(['quiet:iPhone 4'])
    const forget = (device_id: unknown) => post(server.url, '/devices/forget', { device_id })
    expect(await forget('nobody')).toMatchObject({ status: 404, body: { code: 'not_found' } })
    for (const name of [7, null, 'a\0', {}]) expect((await forget(name)).status, String(name)).not.toBe(500)
    expect(await forget('iPhone 4')).toMatchObject({ status: 200 })
    expect(await health()).toMatchObject({ healthy: true })
    expect((await run('status')).stdout).not.toContain('iPhone 4')
    expect(await isAsked(photo)).toBe(false)
    await age('iPhone 4', 30)
    expect(await keys()).toEqual(['quiet:iPhone 4'])

    await server.stop()
    expect((await run('forget')).stdout).toContain('iPhone 4\n')
    expect(await run('forget', 'nobody')).toMatchObject({ code: 2, stderr: expect.stringContaining('"nobody"') })
    expect((await run('forget', 'iPhone 4')).stdout).toContain('Its photos stay.')
    expect((await run('status')).code).toBe(0)
    await start()
    expect(await keys()).toEqual([])
    await backUp('iPhone 4')
    await age('iPhone 4', 8)
    expect(await keys()).toEqual(['quiet:iPhone 4'])
    await run('forget', 'iPhone 4')
  })
})
