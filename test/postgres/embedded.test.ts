import { spawnSync } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startEmbeddedServer } from '../../src/postgres/server.ts'
import { ask, askUntilAnswered, isAlive, postmasterOf, processesIn } from '../support/embedded.ts'
import { command, needs, root } from '../support/needs.ts'
import { silentLog } from '../support/postgres.ts'

let dataDir: string
let cluster: string
const start = (folder = dataDir) => startEmbeddedServer({ dataDir: folder, log: silentLog })

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'iclood-embedded-'))
  cluster = join(dataDir, 'postgres')
  // As root, PostgreSQL runs under another account, which must get in.
  await chmod(dataDir, 0o755)
})
afterEach(() => rm(dataDir, { recursive: true, force: true }))

describe('the embedded server', () => {
  it('makes its database at the first start and finds it again at the second', async () => {
    const first = await start()
    await ask(first.connection, 'create table kept as select 42 as answer')
    await first.stop()

    const second = await start()
    expect(second.connection).toEqual(first.connection)
    expect(await ask(second.connection, 'select answer from kept')).toBe(42)
    await second.stop()
  })

  it('guards its data, orders text the same on every machine and listens nowhere but on its socket', async () => {
    const server = await start()
    const setting = (name: string) => ask(server.connection, `select current_setting('${name}')`)
    expect(await setting('fsync')).toBe('on')
    expect(await setting('full_page_writes')).toBe('on')
    expect(await setting('data_checksums')).toBe('on')
    expect(await setting('server_encoding')).toBe('UTF8')
    expect(await ask(server.connection, "select datlocale from pg_database where datname = 'postgres'")).toBe('C.UTF-8')
    expect(await setting('listen_addresses')).toBe('')
    expect((await stat(server.connection.host)).mode & 0o777).toBe(0o700)
    await server.stop()
  })

  it('leaves no process and no lock when it is stopped, also twice', async () => {
    const server = await start()
    expect((await processesIn(cluster)).length).toBeGreaterThan(1)
    await Promise.all([server.stop(), server.stop()])
    await server.stop()
    expect(await processesIn(cluster)).toEqual([])
    await expect(stat(join(cluster, 'postmaster.pid'))).rejects.toThrow('ENOENT')
  })

  it('is started again under the same connection when it is killed, with all that was committed', async () => {
    const server = await start()
    await ask(server.connection, 'create table kept as select 42 as answer')
    const killed = await postmasterOf(cluster)
    process.kill(killed, 'SIGKILL')

    while (isAlive(killed)) await new Promise(setImmediate)
    expect(await askUntilAnswered(server.connection, 'select answer from kept')).toBe(42)
    expect(await postmasterOf(cluster)).not.toBe(killed)
    await server.stop()
    expect(await processesIn(cluster)).toEqual([])
  })

  it('is started again when someone else asks it to end while connections are open', async () => {
    const server = await start()
    const client = new pg.Client(server.connection)
    const errors: Error[] = []
    client.on('error', (error) => errors.push(error))
    const cut = new Promise<void>((resolve) => client.once('end', resolve))
    await client.connect()
    process.kill(await postmasterOf(cluster), 'SIGTERM')

    await cut
    expect(errors[0]).toMatchObject({ code: '57P01' })
    expect(await askUntilAnswered(server.connection, 'select 42')).toBe(42)
    await server.stop()
  })

  it('stops for good just after its first process was killed, and leaves none of the others', async () => {
    const server = await start()
    const client = new pg.Client(server.connection)
    client.on('error', () => {})
    await client.connect()
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
    // Frozen, it can't notice by itself that its server has gone.
    process.kill(rows[0]?.pid ?? Number.NaN, 'SIGSTOP')
    process.kill(await postmasterOf(cluster), 'SIGKILL')
    await server.stop()
    expect(await processesIn(cluster)).toEqual([])
    await client.end()
  })

  it('gives up a start when it is told to, and the next start works', async () => {
    const reason = new Error('no longer wanted')
    const early = startEmbeddedServer({ dataDir, log: silentLog, signal: AbortSignal.abort(reason) })
    await expect(early).rejects.toBe(reason)

    await (await start()).stop()
    const late = startEmbeddedServer({ dataDir, log: silentLog, signal: AbortSignal.abort(reason) })
    await expect(late).rejects.toBe(reason)
    expect(await processesIn(cluster)).toEqual([])
    await (await start()).stop()
  })

  it('works under a path that is too long for a socket, at each start', async () => {
    const long = join(dataDir, 'x'.repeat(120))
    const first = await start(long)
    await first.stop()
    const second = await start(long)
    expect(await ask(second.connection, 'select 42')).toBe(42)
    expect((await stat(second.connection.host)).mode & 0o777).toBe(0o700)
    await second.stop()
  })

  it('works under a path with spaces, commas, quotes and umlauts', async () => {
    const server = await start(join(dataDir, `Fotos, "Familie" 'Köhler'`))
    expect(await ask(server.connection, 'select 42')).toBe(42)
    await server.stop()
  })
})

describe('the embedded server explains', () => {
  it('that the database is of another major version', async () => {
    await (await start()).stop()
    const ours = (await readFile(join(cluster, 'PG_VERSION'), 'utf8')).trim()
    await writeFile(join(cluster, 'PG_VERSION'), '13\n')
    await expect(start()).rejects.toMatchObject({
      code: 'database_unavailable',
      message: expect.stringMatching(new RegExp(`PostgreSQL 13,.*PostgreSQL ${ours}\\..*pg_dump`)),
    })
  })

  it('that the folder of the database holds something else, which it leaves alone', async () => {
    await mkdir(cluster)
    await writeFile(join(cluster, 'holiday.txt'), 'mine')
    await expect(start()).rejects.toMatchObject({ message: expect.stringContaining('PG_VERSION is missing') })
    expect(await readFile(join(cluster, 'holiday.txt'), 'utf8')).toBe('mine')
  })

  it('that DATA_DIR is no folder', async () => {
    await writeFile(join(dataDir, 'file'), '')
    await expect(start(join(dataDir, 'file'))).rejects.toMatchObject({
      code: 'database_unavailable',
      message: expect.stringContaining('Set DATA_DIR'),
    })
  })

  it('what PostgreSQL says when it refuses to start', async () => {
    await (await start()).stop()
    await writeFile(join(cluster, 'postgresql.conf'), 'nonsense')
    await expect(start()).rejects.toMatchObject({ message: expect.stringContaining('configuration file') })
    expect(await processesIn(cluster)).toEqual([])
  })

  describe('a full or read-only disk', needs(root(), command('mount', 'mount')), () => {
    const mount = (...args: string[]) => expect(spawnSync('mount', [...args, dataDir]).status).toBe(0)
    beforeEach(() => mount('-t', 'tmpfs', '-o', 'size=20m,mode=755', 'tmpfs'))
    afterEach(() => spawnSync('umount', [dataDir]))

    it('as disk_full at the first start, and leaves nothing half-made', async () => {
      await expect(start()).rejects.toMatchObject({ code: 'disk_full' })
      mount('-o', 'remount,size=100m')
      const server = await start()
      expect(await ask(server.connection, 'select 42')).toBe(42)
      await server.stop()
    })

    it('as database_unavailable when nothing can be written', async () => {
      mount('-o', 'remount,ro')
      await expect(start()).rejects.toMatchObject({ code: 'database_unavailable' })
    })
  })
})
