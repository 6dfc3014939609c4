import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { findBinaries } from '../../src/postgres/binaries.ts'
import { startEmbeddedServer } from '../../src/postgres/server.ts'
import { serverArguments } from '../../src/postgres/settings.ts'
import {
  ask,
  type Installation,
  install,
  isAlive,
  kill,
  postmasterOf,
  processesIn,
  stop,
  untilDeserted,
} from '../support/embedded.ts'
import { endsWithTest } from '../support/ends.ts'
import { needs, root } from '../support/needs.ts'
import { silentLog } from '../support/postgres.ts'
import { until } from '../support/until.ts'

// What a process works on is read from /proc.
const linux = () => (process.platform === 'linux' ? undefined : 'Linux')

let installed: Installation
let dataDir: string
let cluster: string
const start = () => startEmbeddedServer({ dataDir, log: silentLog })

/** A cluster with one row, and nothing running on it. */
async function makeCluster(): Promise<void> {
  const server = await start()
  await ask(server.connection, 'create table kept as select 42 as answer')
  await server.stop()
}

async function expectWorks(): Promise<void> {
  const server = await start()
  expect(await ask(server.connection, 'select answer from kept')).toBe(42)
  await server.stop()
  expect(await processesIn(cluster)).toEqual([])
}

/** Runs a program under the account that PostgreSQL runs under, whose lock files it could therefore own. */
async function spawnAsPostgres(program: string, args: string[]): Promise<ChildProcess> {
  const { uid, gid } = await stat(cluster)
  const child = spawn(program, args, { uid, gid, cwd: '/', detached: true, stdio: 'ignore' })
  endsWithTest(() => child.kill('SIGKILL'))
  await once(child, 'spawn')
  return child
}

beforeAll(async () => {
  installed = await install({ ownPackage: false })
  await chmod(installed.folder, 0o755)
})
afterAll(() => rm(installed.folder, { recursive: true, force: true }))

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'iclood-crash-'))
  cluster = join(dataDir, 'postgres')
  await chmod(dataDir, 0o755)
})
afterEach(() => rm(dataDir, { recursive: true, force: true, maxRetries: 5 }))

describe('when the server is killed with -9', needs(linux()), () => {
  it('its database ends too, and the next start works', async () => {
    await makeCluster()
    const program = installed.run(dataDir)
    await program.connection
    await kill(program)
    await untilDeserted(cluster)
    await expectWorks()
  })

  it('the next start works at once, whether the database has ended or not', async () => {
    await makeCluster()
    for (let round = 0; round < 5; round++) {
      const program = installed.run(dataDir)
      await program.connection
      await kill(program)
    }
    await expectWorks()
  })

  it('together with its database, the next start works', async () => {
    await makeCluster()
    const program = installed.run(dataDir)
    await program.connection
    for (const pid of await processesIn(cluster)) process.kill(pid, 'SIGKILL')
    await kill(program)
    await expectWorks()
  })

  it('at any moment of the first start, the next start works and nothing half-made is left', async () => {
    const stages = ['', 'PG_VERSION', 'global/pg_control', 'base/1/pg_filenode.map', 'base/5/PG_VERSION']
    for (const stage of stages) {
      const program = installed.run(dataDir)
      await until(`it has made "${stage}"`, async () => {
        const staging = (await readdir(dataDir)).find((name) => name.startsWith('postgres.new-'))
        return staging !== undefined && (await stat(join(dataDir, staging, stage)).then(Boolean, () => false))
      })
      await kill(program)
      expect(await readdir(dataDir)).not.toContain('postgres')
    }
    await makeCluster()
    await expectWorks()
    expect(await readdir(dataDir)).toEqual(['postgres'])
  })
})

describe('a Ctrl-C in the terminal', needs(linux()), () => {
  it('leaves the database running until the server stops it', async () => {
    const program = installed.run(dataDir)
    const connection = await program.connection
    const postmaster = await postmasterOf(cluster)
    process.kill(-(program.process.pid ?? Number.NaN), 'SIGINT')
    expect(await ask(connection, 'select 42')).toBe(42)
    expect(await postmasterOf(cluster)).toBe(postmaster)
    await stop(program)
    expect(await processesIn(cluster)).toEqual([])
  })
})

describe('an orphaned PostgreSQL on the data folder', needs(linux()), () => {
  const startOrphan = async () => {
    const { postgres } = await findBinaries(dataDir, undefined)
    const orphan = await spawnAsPostgres(postgres, serverArguments(cluster, cluster, 'another-name'))
    const connection = { host: cluster, port: 5432, user: 'catalogue', database: 'postgres' }
    await until('it is ready', async () =>
      (await readFile(join(cluster, 'postmaster.pid'), 'utf8').catch(() => '')).includes('ready'),
    )
    return { orphan, connection }
  }

  it('is shut down, and the start goes on', async () => {
    await makeCluster()
    const { orphan } = await startOrphan()
    const ended = once(orphan, 'exit')
    await expectWorks()
    // 0 is an orderly shutdown: nothing to recover.
    expect(await ended).toEqual([0, null])
  })

  it('that has lost its first process, but not one that is stuck on a connection, is cleared away', async () => {
    await makeCluster()
    const { orphan, connection } = await startOrphan()
    const client = new pg.Client(connection)
    client.on('error', () => {})
    await client.connect()
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
    const stuck = rows[0]?.pid ?? Number.NaN
    process.kill(stuck, 'SIGSTOP')
    const ended = once(orphan, 'exit')
    orphan.kill('SIGKILL')
    await ended

    expect(await processesIn(cluster)).toContain(stuck)
    await expectWorks()
    await client.end()
  })
})

describe('a stale lock file', needs(linux()), () => {
  /** The lock file of a server that was killed, with another process's number in it. */
  const leaveLock = async (owner: number) => {
    const program = installed.run(dataDir)
    await program.connection
    const lock = await readFile(join(cluster, 'postmaster.pid'), 'utf8')
    await kill(program)
    await untilDeserted(cluster)
    const { uid, gid } = await stat(cluster)
    const socketLock = join(cluster, '.s.PGSQL.5432.lock')
    for (const path of [join(cluster, 'postmaster.pid'), socketLock]) {
      await writeFile(path, lock.replace(/^\d+/, String(owner)))
      await chown(path, uid, gid)
    }
  }

  it('with the number of a living process of the same account stops nothing, and that process is left in peace', async () => {
    await makeCluster()
    const stranger = await spawnAsPostgres('sleep', ['600'])
    await leaveLock(stranger.pid ?? Number.NaN)
    await expectWorks()
    expect(stranger.exitCode ?? stranger.signalCode).toBeNull()
    expect(isAlive(stranger.pid ?? Number.NaN)).toBe(true)
  })

  it('with the number of a PostgreSQL on another folder leaves that one in peace', async () => {
    await makeCluster()
    const otherDataDir = await mkdtemp(join(tmpdir(), 'iclood-crash-'))
    await chmod(otherDataDir, 0o755)
    const other = await startEmbeddedServer({ dataDir: otherDataDir, log: silentLog })
    const postmaster = await postmasterOf(join(otherDataDir, 'postgres'))
    await leaveLock(postmaster)
    await expectWorks()
    expect(await postmasterOf(join(otherDataDir, 'postgres'))).toBe(postmaster)
    expect(await ask(other.connection, 'select 42')).toBe(42)
    await other.stop()
    await rm(otherDataDir, { recursive: true })
  })

  it.each(['', 'nonsense\n'])('that holds %j, as a power cut may leave it, stops nothing', async (text) => {
    await makeCluster()
    const { uid, gid } = await stat(cluster)
    await writeFile(join(cluster, 'postmaster.pid'), text)
    await chown(join(cluster, 'postmaster.pid'), uid, gid)
    await expectWorks()
  })
})

describe('started by root', needs(linux(), root()), () => {
  it('PostgreSQL runs under another account, without privileges', async () => {
    const server = await start()
    const status = await readFile(`/proc/${await postmasterOf(cluster)}/status`, 'utf8')
    expect(status).not.toMatch(/^Uid:\s+0\s/m)
    expect(status).toMatch(/^CapEff:\s+0+$/m)
    await server.stop()
  })

  it('in the folder of a person, PostgreSQL runs as that person, who can go on without root', async () => {
    await chown(dataDir, 65534, 65534)
    const server = await start()
    expect((await stat(cluster)).uid).toBe(65534)
    await server.stop()
  })

  it('a data folder and an installation that are closed to everybody else work, and end with the server', async () => {
    const closed = await install({ ownPackage: true })
    await chmod(dataDir, 0o700)
    const program = closed.run(dataDir)
    expect(await ask(await program.connection, 'select 42')).toBe(42)
    await kill(program)
    await untilDeserted(cluster)
    const again = closed.run(dataDir)
    expect(await ask(await again.connection, 'select 42')).toBe(42)
    await stop(again)
    expect(await readdir(dataDir)).toEqual(['postgres'])
    await rm(closed.folder, { recursive: true })
  })

  it('a closed installation with an open data folder works from a copy, made once', async () => {
    const closed = await install({ ownPackage: true })
    const first = closed.run(dataDir)
    await first.connection
    await stop(first)
    const copy = (await readdir(dataDir)).find((name) => name.startsWith('postgresql-')) ?? ''
    const { ino } = await stat(join(dataDir, copy))
    const second = closed.run(dataDir)
    expect(await ask(await second.connection, 'select 42')).toBe(42)
    await stop(second)
    expect((await stat(join(dataDir, copy))).ino).toBe(ino)
    await rm(closed.folder, { recursive: true })
  })
})

describe('started by an ordinary user', needs(linux(), root()), () => {
  const account = { uid: 65534, gid: 65534 }

  it('from an installation of someone else without the links of its libraries, works and ends with the server', async () => {
    const foreign = await install({ ownPackage: true })
    await chmod(foreign.folder, 0o755)
    await chown(dataDir, account.uid, account.gid)
    const program = foreign.run(dataDir, account)
    expect(await ask(await program.connection, 'select 42')).toBe(42)
    await kill(program)
    await untilDeserted(cluster)
    const again = foreign.run(dataDir, account)
    expect(await ask(await again.connection, 'select 42')).toBe(42)
    await stop(again)
    await rm(foreign.folder, { recursive: true })
  })

  it('without an entry in /etc/passwd, learns what to do', async () => {
    const nobodyKnows = 54_321
    await chown(dataDir, nobodyKnows, nobodyKnows)
    const program = installed.run(dataDir, { uid: nobodyKnows, gid: nobodyKnows })
    await expect(program.connection).rejects.toThrow(/uid 54321.*passwd.*DATABASE_URL/)
    expect(await readdir(dataDir)).toEqual([])
  })

  it("another account's database is refused with the way out", async () => {
    await (await start()).stop()
    const program = installed.run(dataDir, account)
    await expect(program.connection).rejects.toThrow(/belongs to the account with uid.*chown/)
  })

  it('a data folder that it may not write to is named', async () => {
    await mkdir(join(dataDir, 'closed'), { mode: 0o755 })
    const program = installed.run(join(dataDir, 'closed'), account)
    await expect(program.connection).rejects.toThrow(/Set DATA_DIR to a folder that this account may write to/)
  })
})
