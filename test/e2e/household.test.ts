import { cp, mkdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Migrator } from 'kysely'
import { beforeAll, describe, expect, it } from 'vitest'
import { openDatabase } from '../../src/catalogue/connection.ts'
import { MIGRATIONS } from '../../src/migrations/migrate.ts'
import { originalsIn, stagedIn } from '../support/drives.ts'
import { JOURNAL, journalIn, sha256sum, summedIn } from '../support/journal.ts'
import { type Answer, get, post } from '../support/phone.ts'
import { startEmptyDatabase, type TestDatabase } from '../support/postgres.ts'
import { execute } from '../support/run-postgres.ts'
import { makeFolder, startServer, type TestServer } from '../support/server.ts'
import { makePhone, send, until } from '../support/wire.ts'

/** What an earlier version has left, each in a folder with the name of its last migration; made by make.mjs there. */
const FIXTURES = join(import.meta.dirname, '../fixtures/household')

type Body = Answer['body']

/** What that version said. */
interface Said {
  phones: {
    device: string
    from: string
    files: { path: string; name: string; id: string }[]
    /** What `/photos/new` said of the files. */
    offered: Body
    /** What `/photos/verdict` said of each of them. */
    verdict: { path: string; id: string; safe: boolean; sha256?: string; reason?: string }[]
    /** The content, in Base64, of what the phone was asked for. */
    bytes: Record<string, string>
  }[]
  /** By the address that was asked. */
  asked: Record<string, Body>
}

interface Left {
  said: Said
  library: string
  mirror: string
  folder: string
  database: TestDatabase
}

/** Lays it out as that version has left it when it was stopped. */
async function layOut(name: string): Promise<Left> {
  const fixture = join(FIXTURES, name)
  const folder = await makeFolder()
  const [library, mirror] = [join(folder, 'library'), join(folder, 'mirror')]
  await cp(fixture, folder, { recursive: true })
  // Git keeps no empty folders.
  for (const root of [library, mirror]) await mkdir(join(root, '.iclood/incoming'), { recursive: true })
  const database = await startEmptyDatabase()
  const db = openDatabase({ connectionString: database.url }, () => {})
  const earlier = new Migrator({ db, provider: { getMigrations: async () => MIGRATIONS } })
  expect((await earlier.migrateTo(name)).error).toBeUndefined()
  await db.destroy()
  await execute(database.connection, await readFile(join(fixture, 'database.sql'), 'utf8'))
  return { said: JSON.parse(await readFile(join(fixture, 'answers.json'), 'utf8')), library, mirror, folder, database }
}

const journalPaths = async (root: string): Promise<string[]> =>
  (await journalIn(root)).map((file) => join(JOURNAL, file))

/** Makes of it what a server of version 0.2 leaves that is killed before it has written down what it has stored. */
async function makeKilled({ library, database }: Left): Promise<void> {
  await execute(database.connection, 'update library set journal_complete = false')
  const [, first = '', second = ''] = await journalPaths(library)
  await rm(join(library, second))
  for (const path of [first, '2023/12/SHA256SUMS', '2024/07/SHA256SUMS']) {
    await truncate(join(library, path), (await stat(join(library, path))).size >> 1)
  }
  await writeFile(join(library, '.iclood/incoming/3f0c1f6e-5d0b-4c39-9d6a-0d2f6f0f3c11.part'), 'half a ph')
}

/** Starts today's server on it, with the settings that version had. */
async function start({ folder, library, mirror }: Left, database: TestDatabase, more = {}): Promise<TestServer> {
  const server = await startServer(folder, {
    DATABASE_URL: database.url,
    UPLOAD_FOLDER: library,
    MIRROR_FOLDER: mirror,
    QUIET_DAYS: '3650',
    VERIFY_EVERY: '3650d',
    ...more,
  })
  await until('the library is open', async () => (await get(server.url, '/storage/status')).status === 200)
  return server
}

const healthOf = async (server: TestServer) => (await get(server.url, '/library/health')).body

const untilMirrored = (server: TestServer) =>
  until('the mirror is up to date', async () => (await healthOf(server)).mirror?.state === 'ok')

/** Only the address that has announced or ignored a file is told all of it. */
const getFrom = async (server: TestServer, from: string, path: string): Promise<Body> =>
  (await send(server, { path, from })).body

/** What has been backed up, has failed, or was ignored. */
async function recordsOf(server: TestServer): Promise<Body[]> {
  const paths = ['/backup/log?limit=1000&status=Completed', '/backup/log?status=Failed', '/photos/ignored']
  return Promise.all(paths.map(async (path) => (await get(server.url, path)).body))
}

/** The files `paths` in `root`, with their bytes. */
async function bytesOf(root: string, paths: readonly string[]): Promise<Map<string, string>> {
  return new Map(await Promise.all(paths.map(async (path) => [path, await readFile(join(root, path), 'hex')] as const)))
}

const findingsIn = (health: Body): string[] =>
  health.findings.list.map(({ copy, kind, path, quarantined, found_at }: Body) =>
    [copy, kind, path, quarantined, found_at].join(' '),
  )

/** Not of the machine that the tests run on. */
const problemsIn = (health: Body): string[] =>
  health.problems.map(({ key }: Body) => key).filter((key: string) => /^(findings|mirror)/.test(key))

describe.each([
  ['0003-proof', 'stopped'],
  ['0003-proof', 'killed'],
  ['0014-outbox', 'stopped'],
] as const)('a household of the version with %s, which was %s', (name, how) => {
  let left: Left
  let said: Said
  let server: TestServer
  /** Everything on both drives that no server may ever change. */
  let before: Map<string, string>[]
  let records: Body[]
  const untouched = async () =>
    Promise.all([left.library, left.mirror].map(async (root, n) => bytesOf(root, [...(before[n]?.keys() ?? [])])))

  beforeAll(async () => {
    left = await layOut(name)
    said = left.said
    const roots = [left.library, left.mirror]
    before = await Promise.all(
      roots.map(async (root) => bytesOf(root, [...(await originalsIn(root)), '.iclood/library.json'])),
    )
    if (how === 'killed') await makeKilled(left)
    server = await start(left, left.database)
    await untilMirrored(server)
  })

  it('is as well as it was, with the same second copy and the same findings', async () => {
    const then = said.asked['/library/health']
    const now = await healthOf(server)
    const { files, verification, mirror, last_backup, video_count } = then
    expect(now).toMatchObject({ files, mirror, last_backup, video_count })
    // After a kill, what may have suffered is read again.
    if (how === 'stopped') expect(now).toMatchObject({ verification })
    expect(now.findings).toMatchObject({ open: then.findings.open, by_kind: then.findings.by_kind })
    expect(findingsIn(now)).toEqual(findingsIn(then))
    expect(problemsIn(now)).toEqual(problemsIn(then))
    const devices = then.devices.map(({ device_id, completed, failed, last_backup }: Body) =>
      expect.objectContaining({ device_id, completed, failed, last_backup }),
    )
    expect(now.devices).toEqual(devices)
    expect(await untouched()).toEqual(before)
  })

  it('asks phones for what they were asked for before, and calls the same photos safe', async () => {
    for (const { device, from, files, offered, verdict } of said.phones) {
      expect(await makePhone(server, device, from).offer(...files)).toEqual(offered)
      const list = verdict.map(({ sha256 }, index) => ({ ...files[index], ...(sha256 !== undefined && { sha256 }) }))
      const now = (await post(server.url, '/photos/verdict', { device_id: device, files: list })).body.files
      expect(now.map(({ path, safe }: Body) => [path, safe])).toEqual(verdict.map(({ path, safe }) => [path, safe]))
      for (const [index, { safe, sha256 }] of verdict.entries()) {
        if (safe) expect(now[index]).toMatchObject({ sha256, copies: 2 })
      }
    }
  })

  it('tells of its backups what it told before', async () => {
    const { asked, phones } = said
    const from = phones[0]?.from ?? ''
    for (const path of ['/backup/log?limit=1000', '/backup/history']) {
      expect(await getFrom(server, from, path)).toMatchObject(asked[path])
    }
    // Version 0.2 told everybody of the phone's ids, and did not know who had ignored a file.
    const old = name === '0003-proof' ? { asset_id: null } : {}
    const ignored = asked['/photos/ignored'].ignored_files.map((file: Body) => ({ ...file, ...old }))
    expect((await getFrom(server, from, '/photos/ignored')).ignored_files).toEqual(ignored)
    // And it counted a photo once for each phone that has it, not once.
    expect((await get(server.url, '/storage/status')).body.backups).toMatchObject({
      photo_count: 6,
      video_count: 2,
      total_count: 8,
      total_size_bytes: 8 * 300,
      last_backup: asked['/storage/status'].backups.last_backup,
    })
    const { icloud_used_bytes } = asked['/storage/usage']
    expect((await get(server.url, '/storage/usage')).body).toMatchObject({ icloud_used_bytes })
  })

  it('lets a person accept a loss, and knows which ones were accepted', async () => {
    const accepted = await post(server.url, '/library/findings/accept', { paths: ['2024/07/DELETED.JPG'] })
    // Version 0.2 knew no acceptance.
    expect(accepted.status).toBe(name === '0003-proof' ? 200 : 404)
    const open = findingsIn(await healthOf(server)).map((finding) => finding.split(' ', 3).join(' '))
    expect(open).toEqual(['library corrupt 2024/07/LOST.JPG', 'mirror corrupt 2024/07/LOST.JPG'])
  })

  it('takes what it asks for, and then has everything on both drives', async () => {
    for (const { device, from, files, offered, bytes } of said.phones) {
      const phone = makePhone(server, device, from)
      for (const { path, name, id } of offered.new_files) {
        const fields = { original_path: path, asset_id: id }
        const answer = await phone.upload(Buffer.from(bytes[path] ?? '', 'base64'), { name, fields })
        expect(answer).toMatchObject({ status: 201, body: { backup: { status: 'Completed' } } })
      }
      expect(await phone.offer(...files)).toMatchObject({ new_files: [], ignored_files: offered.ignored_files })
    }
    await until('both drives have everything', async () => {
      const { findings, mirror } = await healthOf(server)
      return findings.open === 0 && mirror.state === 'ok'
    })
    await until('the second copy’s journal tells of the last photo', async () => {
      const paths = await journalPaths(left.mirror)
      // One of them may go meanwhile.
      const texts = await Promise.all(paths.map((path) => readFile(join(left.mirror, path), 'utf8').catch(() => '')))
      return texts.join('').includes('"name":"WAITING.JPG"')
    })
    records = await recordsOf(server)
    expect(await server.stop()).toBe(0)

    const originals = await originalsIn(left.library)
    expect(originals.length).toBe((before[0]?.size ?? 0) - 1 + 4)
    expect(await bytesOf(left.mirror, originals)).toEqual(await bytesOf(left.library, originals))
    expect(await originalsIn(left.mirror)).toEqual(originals)
    expect(await untouched()).toEqual(before)
    for (const root of [left.library, left.mirror]) {
      expect(await stagedIn(root)).toEqual([])
      for (const month of new Set(originals.map(dirname))) {
        const names = originals.filter((path) => dirname(path) === month).map((path) => path.slice(month.length + 1))
        expect((await summedIn(join(root, month))).toSorted()).toEqual(names)
        expect(await sha256sum(join(root, month))).toMatchObject({ code: 0 })
      }
    }
  })

  // The journal on the drive has been the same since: one version suffices.
  if (name === '0003-proof') {
    it('is rebuilt from its drive as it was', async () => {
      const rebuilt = await start(left, await startEmptyDatabase(), { AUTO_REBUILD: 'true' })
      expect(await recordsOf(rebuilt)).toEqual(records)
      for (const { device, from, files, offered } of said.phones) {
        const { new_files, ignored_files } = await makePhone(rebuilt, device, from).offer(...files)
        expect({ new_files, ignored_files }).toEqual({ new_files: [], ignored_files: offered.ignored_files })
      }
      await untilMirrored(rebuilt)
      expect(await untouched()).toEqual(before)
      await rebuilt.stop()
    })
  }
})
