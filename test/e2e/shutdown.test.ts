import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it, onTestFinished } from 'vitest'
import { originalsIn, stagedIn, uploadsIn } from '../support/drives.ts'
import { isAlive, postmasterOf, processesIn, untilDeserted } from '../support/embedded.ts'
import { jpeg } from '../support/media.ts'
import { get, upload } from '../support/phone.ts'
import { freePort } from '../support/ports.ts'
import { RawConnection, rawUpload, uploadHead } from '../support/raw-http.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { EMBEDDED } from '../support/surroundings.ts'
import { until } from '../support/until.ts'

const PROGRAM = fileURLToPath(new URL('../../bin/iclood.cjs', import.meta.url))
const film = jpeg({ date: '2024:07:01 12:00:00', size: 5_000_000, seed: 'a film' })

let folder: string
let server: TestServer | undefined
beforeEach(async () => {
  folder = await makeFolder()
})
afterEach(async () => {
  await server?.stop()
  server = undefined
  await removeFolder(folder)
})

/** A start that is expected to end by itself, or by a signal that the test sends. */
function run(cwd: string, env: Record<string, string>): { process: ChildProcess; ended: Promise<Ending> } {
  const child = spawn(process.execPath, [PROGRAM, 'serve'], {
    cwd,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], TMPDIR: process.env['TMPDIR'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, output }) as Ending)
  return { process: child, ended }
}

interface Ending {
  code: number | null
  signal: string | null
  output: string
}

/** A film of which the phone has sent the first half. */
async function beginFilm(running: TestServer): Promise<{ connection: RawConnection; rest: Buffer }> {
  const connection = await RawConnection.open(running.port)
  const { boundary, head, tail } = rawUpload()
  const whole = Buffer.concat([head, film, tail])
  await connection.write(uploadHead(boundary, whole.length))
  await connection.write(whole.subarray(0, 3_000_000))
  await until('half of it is staged', async () => (await uploadsIn(running.library)).length === 1)
  return { connection, rest: whole.subarray(3_000_000) }
}

async function refusesConnections(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  const isRefused = new Promise<boolean>((resolve) => {
    socket.on('connect', () => resolve(false)).on('error', () => resolve(true))
  })
  const refused = await isRefused
  socket.destroy()
  return refused
}

it.each(['SIGTERM', 'SIGINT'] as const)(
  '%s: no new connections, but the upload under way is finished; then it exits with 0, the database shut down cleanly',
  async (signal) => {
    server = await startServer(folder, EMBEDDED)
    const { connection, rest } = await beginFilm(server)
    const idle = await RawConnection.open(server.port)
    await idle.write('GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n')
    await idle.answer()

    const { pid, port } = server
    process.kill(pid, signal)
    await until('it takes no new connections', () => refusesConnections(port))
    await idle.ended()
    expect(isAlive(pid)).toBe(true)

    await connection.write(rest)
    const answer = await connection.answer()
    expect(answer).toMatchObject({ status: 201 })
    expect(answer?.headers.get('connection')).toBe('close')
    await connection.ended()

    await until('it ends', async () => !isAlive(pid))
    expect(await server.stop()).toBe(0)
    expect((await readFile(join(server.library, answer?.json().backup.file_path))).equals(film)).toBe(true)
    expect(await processesIn(join(folder, 'data/postgres'))).toEqual([])
    server = await startServer(folder, EMBEDDED)
    expect(server.output()).not.toMatch(/recover|not properly shut down|interrupted/)
    expect(await upload(server.url, film)).toMatchObject({ status: 200 })
  },
)

it('a second signal does not wait for the upload, and the next start leaves nothing of it', async () => {
  server = await startServer(folder, EMBEDDED)
  const { connection } = await beginFilm(server)
  const { pid, port } = server
  process.kill(pid, 'SIGTERM')
  await until('it takes no new connections', () => refusesConnections(port))
  // Two at once are one Ctrl-C that npm passes on: until it ends, it is told once more now and then.
  await until('it ends', async () => {
    if (isAlive(pid)) process.kill(pid, 'SIGTERM')
    return !isAlive(pid)
  })
  await connection.ended()
  await untilDeserted(join(folder, 'data/postgres'))

  server = await startServer(folder, EMBEDDED)
  await until('staging is empty', async () => (await stagedIn(join(folder, 'data/photos'))).length === 0)
  expect(await originalsIn(server.library)).toEqual([])
  expect((await upload(server.url, film)).status).toBe(201)
})

it('a signal during the very first start ends it with 0 and leaves nothing running or half-made', async () => {
  const first = run(folder, { PORT: String(await freePort()) })
  await until('it makes the database', async () => {
    const made = await namesIn(join(folder, 'data'))
    return made.length > 0
  })
  first.process.kill('SIGTERM')
  expect(await first.ended).toMatchObject({ code: 0, signal: null })
  await untilDeserted(folder)
  server = await startServer(folder, EMBEDDED)
  expect((await upload(server.url, film)).status).toBe(201)
})

async function namesIn(path: string): Promise<string[]> {
  return readdir(path).catch(() => [])
}

it('a second server on the same data folder says so and exits, and the first is unharmed', async () => {
  server = await startServer(folder, EMBEDDED)
  const { connection, rest } = await beginFilm(server)
  const postmaster = await postmasterOf(join(folder, 'data/postgres'))
  const second = await run(folder, { PORT: String(await freePort()) }).ended
  expect(second.code).not.toBe(0)
  expect(second.output).toMatch(/another iClood server.*DATA_DIR/is)
  expect(second.output).not.toContain('    at ')

  await connection.write(rest)
  expect(await connection.answer()).toMatchObject({ status: 201 })
  connection.close()
  expect(await postmasterOf(join(folder, 'data/postgres'))).toBe(postmaster)
  expect((await get(server.url, '/backup/log')).body).toMatchObject({ total: 1 })
})

it('a second server on the same library says so and exits, and the first is unharmed', async () => {
  server = await startServer(folder, EMBEDDED)
  const { connection, rest } = await beginFilm(server)
  const elsewhere = await makeFolder()
  try {
    const second = await run(elsewhere, { PORT: String(await freePort()), UPLOAD_FOLDER: server.library }).ended
    expect(second.code).not.toBe(0)
    expect(second.output).toMatch(/another iClood server.*UPLOAD_FOLDER/is)
    expect(await processesIn(join(elsewhere, 'data/postgres'))).toEqual([])
  } finally {
    await removeFolder(elsewhere)
  }
  await connection.write(rest)
  expect(await connection.answer()).toMatchObject({ status: 201 })
  connection.close()
})

it('a port in use is named, with the setting to change, and nothing is left running', async () => {
  const taken = createServer().listen(0)
  await once(taken, 'listening')
  const address = taken.address()
  const port = typeof address === 'object' && address !== null ? String(address.port) : ''
  const { code, output } = await run(folder, { PORT: port }).ended
  taken.close()
  expect(code).toBe(1)
  expect(output).toContain(port)
  expect(output).toContain('PORT')
  expect(output).not.toContain('    at ')
  // It may have been told of the port before or after it had a database.
  await untilDeserted(folder)
})

it('settings that are wrong are all named at once, with exit code 78 and nothing made', async () => {
  const { code, output } = await run(folder, {
    PORT: 'eighty',
    MAX_FILE_SIZE: '-1',
    TZ: 'Mars/Olympus',
    LOG_LEVEL: 'x',
  }).ended
  expect(code).toBe(78)
  for (const text of ['PORT', '"eighty"', 'MAX_FILE_SIZE', '"-1"', 'TZ', 'Mars/Olympus', 'LOG_LEVEL']) {
    expect(output).toContain(text)
  }
  expect(output).not.toContain('    at ')
  expect(await namesIn(folder)).toEqual([])
})

it('a data folder that can’t be made is named', async () => {
  await writeFile(join(folder, 'file'), '')
  const { code, output } = await run(folder, { DATA_DIR: 'file/data', PORT: '0' }).ended
  expect(code).toBe(1)
  expect(output).toContain('DATA_DIR')
  expect(output).not.toContain('    at ')
})

it('reads .env in its working directory, and the environment wins', async () => {
  await mkdir(join(folder, 'from env file'))
  await writeFile(
    join(folder, '.env'),
    `# mine\nUPLOAD_FOLDER="${join(folder, 'from env file')}"\nMAX_FILE_SIZE=1\nMIN_FREE_SPACE=99999999\nPORT=1\n`,
  )
  // Port and MIN_FREE_SPACE are in the environment of every test server.
  server = await startServer(folder, EMBEDDED)
  expect(await upload(server.url, film)).toMatchObject({ status: 413 })
  const photo = jpeg({ date: '2024:07:01 12:00:00', size: 10_000 })
  expect((await upload(server.url, photo)).status).toBe(201)
  expect(await originalsIn(join(folder, 'from env file'))).toEqual(['2024/07/IMG_0001.HEIC'])
})
