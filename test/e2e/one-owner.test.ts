import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readlinkSync } from 'node:fs'
import { readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { type IncomingMessage, request } from 'node:http'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCommand, startCommand } from '../support/command.ts'
import { jpeg } from '../support/media.ts'
import { needs, root } from '../support/needs.ts'
import { get, upload } from '../support/phone.ts'
import { freePort } from '../support/ports.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { PROGRAM } from '../support/surroundings.ts'
import { until } from '../support/until.ts'

const NOBODY = 65534
const LARGE = ['U.JPG', 'V.JPG', 'W.JPG', 'X.JPG', 'Y.JPG', 'Z.JPG']

let database: TestDatabase
let client: pg.Client
let server: TestServer
let env: Record<string, string>

beforeAll(async () => {
  database = await startTestDatabase()
  client = new pg.Client(database.connection)
  await client.connect()
  env = { DATABASE_URL: database.url, VERIFY_EVERY: '365d' }
  server = await startServer(await makeFolder(), env)
  for (const name of ['A.JPG', 'B.JPG', ...LARGE]) {
    const bytes = jpeg({ date: '2024:07:15 12:00:00', seed: name, size: 20_000 })
    await upload(server.url, bytes, { name, fields: { original_path: `/${name}` } })
  }
})

afterAll(async () => {
  await server.stop()
  await client.end()
  await database.drop()
  await removeFolder(server.folder)
})

const noteIn = (folder: string) => join(folder, 'data/control.json')
const note = async () => JSON.parse(await readFile(noteIn(server.folder), 'utf8'))
const place = (name: string) => join(server.library, '2024/07', name)

/** What a request for a verification is answered, from the address `from` of this machine. */
async function ask(
  headers: Record<string, string>,
  { from = '127.0.0.1', path = '/control/verify' } = {},
): Promise<IncomingMessage> {
  const sent = request({
    host: '127.0.0.1',
    port: server.port,
    path,
    method: 'POST',
    localAddress: from,
  })
  for (const [name, value] of Object.entries(headers)) sent.setHeader(name, value)
  sent.setHeader('content-type', 'application/json')
  sent.end('{}')
  const [answer] = (await once(sent, 'response')) as [IncomingMessage]
  return answer
}

async function textOf(answer: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of answer.setEncoding('utf8')) text += chunk
  return text
}

/** The files that the server has open. */
function openFiles(): string[] {
  const folder = `/proc/${server.pid}/fd`
  return readdirSync(folder).flatMap((file) => {
    try {
      return readlinkSync(join(folder, file))
    } catch {
      // Closed in the meantime.
      return []
    }
  })
}
const reads = (names: readonly string[]) => {
  const open = openFiles()
  return names.every((name) => open.includes(place(name)))
}

/** Runs `use` while the large files can't be read to their ends, and nobody knows how large they should be. */
async function whileReading(use: () => Promise<void>): Promise<void> {
  const bytes = await Promise.all(LARGE.map((name) => readFile(place(name))))
  await client.query('update copies set verified_at = null where place = 0')
  await client.query(`update files set size = null where path ~ '/[U-Z]'`)
  for (const name of LARGE) await truncate(place(name), 50_000_000_000)
  try {
    await use()
  } finally {
    for (const [index, name] of LARGE.entries()) await writeFile(place(name), bytes[index] ?? '')
    await client.query(`update files set size = 20000 where path ~ '/[U-Z]'`)
  }
}

const verified = async () => {
  const { rows } = await client.query(
    'select path from copies where place = 0 and verified_at is not null order by path',
  )
  return rows.map(({ path }) => path)
}

describe('the way to a running server', () => {
  it('is a file that nobody else can read', async () => {
    expect((await stat(noteIn(server.folder))).mode & 0o777).toBe(0o600)
    expect(await note()).toEqual({
      command: 'serve',
      address: `http://127.0.0.1:${server.port}`,
      secret: expect.stringMatching(/^[\w-]{43}$/),
    })
  })

  it('is as unknown as any other path to whoever lacks the secret, speaks through a proxy or from another address', async () => {
    const { secret } = await note()
    const mine = { 'x-iclood-control': secret }
    const lan = Object.values(networkInterfaces()).flatMap((found) => found ?? [])
    const from = lan.find(({ family, internal }) => family === 'IPv4' && !internal)?.address
    const attempts: [Record<string, string>, { from?: string }][] = [
      [{}, {}],
      [{ 'x-iclood-control': 'wrong' }, {}],
      [{ 'x-iclood-control': `${secret}x` }, {}],
      [{ ...mine, 'x-forwarded-for': '127.0.0.1' }, {}],
      [{ ...mine, forwarded: 'for=127.0.0.1' }, {}],
      [{ ...mine, via: '1.1 proxy', host: 'elsewhere.example' }, {}],
      ...(from === undefined ? [] : [[mine, { from }] as [Record<string, string>, { from: string }]]),
    ]
    for (const [headers, options] of attempts) {
      const answer = await ask(headers, options)
      const unknown = await ask(headers, { ...options, path: '/control/nothing' })
      expect(answer.statusCode).toBe(unknown.statusCode)
      expect([401, 404]).toContain(answer.statusCode)
      expect(await textOf(answer)).toBe((await textOf(unknown)).replace('/control/nothing', '/control/verify'))
    }
    expect((await get(server.url, '/control/verify')).status).toBe(404)
    expect(JSON.stringify((await get(server.url, '/openapi.json')).body)).not.toContain('/control')
  })

  it('is open to whoever has it, also with a Host of elsewhere, and bad input is the client’s fault', async () => {
    const { secret } = await note()
    const answer = await ask({ 'x-iclood-control': secret, host: 'elsewhere.example' })
    const lines = (await textOf(answer)).trimEnd().split('\n')
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ result: { files: 8, findings: [] } })
    const bad = await fetch(`${server.url}/control/verify`, {
      method: 'POST',
      headers: { 'x-iclood-control': secret, 'content-type': 'application/json' },
      body: '{"subset": "all"}',
    })
    expect(bad.status).toBe(400)
  })
})

describe('another user of the machine', needs(root()), () => {
  async function asNobody(...args: string[]) {
    const child = spawn(process.execPath, [PROGRAM, ...args], {
      cwd: '/',
      uid: NOBODY,
      gid: NOBODY,
      env: { ...env, DATA_DIR: join(server.folder, 'data'), UPLOAD_FOLDER: server.library, PORT: String(server.port) },
    })
    let [stdout, stderr] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text
    })
    const [code] = await once(child, 'close')
    return { code, stdout, stderr }
  }

  it('sees how the backup is', async () => {
    const { code, stdout, stderr } = await asNobody('status')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain('8 photos')
    expect(JSON.parse((await asNobody('status', '--json')).stdout)).toMatchObject({ healthy: true, photo_count: 8 })
  })

  it('is told which rights all else needs', async () => {
    for (const command of ['verify', 'rebuild', 'mirror', 'accept', 'forget']) {
      expect(await asNobody(command)).toMatchObject({
        code: 2,
        stdout: '',
        stderr: expect.stringMatching(/rights of the account that the server runs as.*sudo/),
      })
    }
  })
})

describe('a verification that a server is asked for', needs(existsSync('/proc/self/fd') ? undefined : '/proc'), () => {
  it('tells how far it is while it goes on, is the only one, and ends when whoever asked hangs up', async () => {
    await whileReading(async () => {
      const answer = await ask({ 'x-iclood-control': (await note()).secret })
      const seen: { files: number; totalFiles: number; bytes: number }[] = []
      for await (const text of createInterface({ input: answer })) {
        const { progress } = JSON.parse(text)
        if (progress !== undefined) seen.push(progress)
        // The bytes of the large ones come in one after the other.
        if ((seen.at(-1)?.files ?? 0) >= 2 && (seen.at(-1)?.bytes ?? 0) > 4_000_000) break
      }
      expect(seen.at(-1)).toMatchObject({ files: 2, totalFiles: 8 })
      expect(await runCommand(server.folder, ['verify'], env)).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('under way already'),
      })
      answer.destroy()
      await until('nothing is read any more', async () => !LARGE.some((name) => reads([name])))
      await until('what was proven is kept', async () => (await verified()).length >= 2)
      expect(await verified()).toEqual(['2024/07/A.JPG', '2024/07/B.JPG'])
    })
  })

  it('ends with Ctrl-C, in the server as well, and what it has proven stays', async () => {
    await whileReading(async () => {
      const command = startCommand(server.folder, ['verify'], env)
      await until('it reads all large files', async () => reads(LARGE))
      command.process.kill('SIGINT')
      expect(await command.result).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/^Interrupted/) })
      await until('nothing is read any more', async () => !LARGE.some((name) => reads([name])))
      await until('what was proven is kept', async () => (await verified()).length >= 2)
      expect(await verified()).toEqual(['2024/07/A.JPG', '2024/07/B.JPG'])
    })
  })

  it('ends with the server, and says so: after a stop and after kill -9, which leaves a stale way behind', async () => {
    for (const end of ['stop', 'kill'] as const) {
      await whileReading(async () => {
        const command = startCommand(server.folder, ['verify', '--json'], env)
        await until('it reads all large files', async () => reads(LARGE))
        await server[end]()
        expect(await command.result).toMatchObject({
          code: 2,
          stdout: '',
          stderr: expect.stringMatching(/^The server (was stopped|has ended).*run the same command again/),
        })
      })
      expect(existsSync(noteIn(server.folder))).toBe(end === 'kill')
      if (end === 'stop') server = await startServer(server.folder, env)
    }
    expect(await runCommand(server.folder, ['verify'], env)).toMatchObject({ code: 0, stderr: '' })
    expect(existsSync(noteIn(server.folder))).toBe(false)
    server = await startServer(server.folder, env)
  })
})

it('a command and a server with other settings: the command is told so, and does nothing', async () => {
  const other = { DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none' }
  expect(await runCommand(server.folder, ['status'], other)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('another database'),
  })
})

it('without a server a command is alone: a second one says which is at work, and a server that is started waits', async () => {
  await server.stop()
  const holder = new pg.Client(database.connection)
  await holder.connect()
  await holder.query('begin')
  await holder.query('lock table files')
  const first = startCommand(server.folder, ['verify'], env)
  await until('it is at work', async () => existsSync(noteIn(server.folder)))
  const second = await runCommand(server.folder, ['forget'], env)
  expect(second).toMatchObject({ code: 2, stderr: expect.stringMatching(/Another command is at work.*`verify`/) })

  const waiting = startCommand(server.folder, ['serve'], { ...env, PORT: String(await freePort()) })
  let output = ''
  waiting.process.stdout?.on('data', (text) => {
    output += text
  })
  await until('it says what it waits for', async () => output.includes('`verify` is at work'))
  await holder.end()
  expect(await first.result).toMatchObject({ code: 0 })
  await until('it has started', async () => output.includes('ready for photos'))
  waiting.process.kill('SIGTERM')
  expect(await waiting.result).toMatchObject({ code: 0 })
  server = await startServer(server.folder, env)
})
