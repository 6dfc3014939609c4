import { mkdir, readdir, readFile, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCommand } from '../support/command.ts'
import { jpeg } from '../support/media.ts'
import { get, post, upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'

/** Clears the screen, names the window, begins a line of its own, and reverses what follows. */
const HOSTILE = 'IMG\u001b[2J\u001b]0;x\u0007\u009b31m\nAll is well.\u202egpj'
const UNSHOWN = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

let database: TestDatabase
let client: pg.Client
let server: TestServer
let folder: string
let settings: Record<string, string>

beforeAll(async () => {
  database = await startTestDatabase()
  client = new pg.Client(database.connection)
  await client.connect()
  folder = await makeFolder()
  settings = { DATABASE_URL: database.url }
  server = await startServer(folder, { ...settings, LOG_LEVEL: 'debug' })
})

afterAll(async () => {
  await server.stop()
  await client.end()
  await database.drop()
  await removeFolder(folder)
})

const place = (path: string) => join(server.library, path)
const photo = (seed: string) => jpeg({ date: '2024:07:01 12:00:00', seed })

/** The lines of what was printed hold nothing that does anything to a terminal. */
function expectHarmless(text: string): void {
  for (const line of text.split('\n')) expect(line).not.toMatch(UNSHOWN)
}

describe('a name on the drive', () => {
  it('has _ for what only changes how the rest is shown, and two that differ in nothing else stay apart', async () => {
    const names = ['IMG\u202eGPJ.jpg', 'IMG\u2066GPJ.jpg', 'IMG_GPJ.jpg']
    const stored = new Map<string, string>()
    for (const name of names) {
      const { status, body } = await upload(server.url, photo(name), { name })
      expect(status).toBe(201)
      stored.set(body.backup.file_path, name)
    }
    expect([...stored.keys()]).toEqual(['2024/07/IMG_GPJ.jpg', '2024/07/IMG_GPJ (2).jpg', '2024/07/IMG_GPJ (3).jpg'])
    for (const [path, name] of stored) expect(await readFile(place(path))).toEqual(photo(name))
  })

  it('that an older version has given stays as it is, and the API gives it as it is', async () => {
    const { body } = await upload(server.url, photo('older'), { name: 'older.jpg' })
    const old = '2024/07/old\u202egpj.jpg'
    await writeFile(place(old), photo('older'))
    await client.query('update backups set file_path = $1, file_name = $2 where id = $3', [
      null,
      'old\u202egpj.jpg',
      body.backup.id,
    ])
    await client.query('update files set path = $1 where path = $2', [old, body.backup.file_path])
    await client.query('update backups set file_path = $1 where id = $2', [old, body.backup.id])
    const again = await upload(server.url, photo('older'), { name: 'again.jpg' })
    expect(again).toMatchObject({ status: 200, body: { backup: { file_path: old } } })
    const log = await get(server.url, '/backup/log?limit=100')
    expect(log.body.logs ?? log.body.backups).toEqual(
      expect.arrayContaining([expect.objectContaining({ file_path: old, file_name: 'oldgpj.jpg' })]),
    )
    expect(await readFile(place(old))).toEqual(photo('older'))
  })
})

describe('a terminal', () => {
  it('is told nothing by names on the drive, whatever is run', async () => {
    const month = join(server.library, '2023/01')
    await mkdir(month, { recursive: true })
    const old = new Date(Date.now() - 3_600_000)
    for (const name of [`${HOSTILE}.jpg`, `${HOSTILE}.txt`]) {
      await writeFile(join(month, name), name)
      await utimes(join(month, name), old, old)
    }
    // One that can't be read, whoever asks.
    await symlink(`${HOSTILE}2.jpg`, join(month, `${HOSTILE}2.jpg`))
    for (const device_id of [HOSTILE, 'unknown']) await upload(server.url, photo(device_id), { fields: { device_id } })
    const { body } = await upload(server.url, photo('rotten'), {
      name: 'rotten\u202e.jpg',
      fields: { device_id: HOSTILE },
    })
    await writeFile(place(body.backup.file_path), 'rotten')

    const printed: string[] = []
    for (const line of ['rebuild', 'verify', 'verify --json', 'accept', 'status', 'status --json', 'forget']) {
      const { stdout, stderr } = await runCommand(folder, line.split(' '), settings)
      printed.push(stdout, stderr)
      expectHarmless(stdout)
      expectHarmless(stderr)
      if (line.endsWith('--json')) expect(() => JSON.parse(stdout)).not.toThrow()
    }
    const all = printed.join('\n')
    expect(all).toContain('IMG\\u001b[2J')
    expect(all).not.toMatch(/^All is well\.gpj/m)
    expectHarmless(server.output())
  })

  it('shows a device whose name it can’t show so that it can be named, and forgotten', async () => {
    await post(server.url, '/photos/new', { device_id: HOSTILE, files: [{ path: '1' }] })
    const listed = (await runCommand(folder, ['forget'], settings)).stdout.split('\n')
    const name = listed.find((line) => line.startsWith('IMG'))
    expect(name).toContain('\\u202e')
    const { code, stdout } = await runCommand(folder, ['forget', name ?? ''], settings)
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining('is not waited for any more') })
    const { rows } = await client.query('select device_id from devices where forgotten_at is not null')
    expect(rows).toEqual([{ device_id: HOSTILE }])
  })

  it('of somebody who asks with curl is told nothing by what an answer says', async () => {
    for (const path of ['/backup/log?before=%1b%5b2J', '/%9b31m%e2%80%ae', '/photos/ignored?device_id=%e2%80%ae']) {
      const { body } = await get(server.url, path)
      expectHarmless(String(body.message ?? ''))
    }
    const forgotten = await post(server.url, '/devices/forget', { device_id: `${HOSTILE} nobody` })
    expect(forgotten.status).toBe(404)
    expectHarmless(forgotten.body.message)
    expect(await readdir(server.library)).toContain('2024')
  })
})
