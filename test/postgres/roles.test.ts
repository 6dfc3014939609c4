import { createHash } from 'node:crypto'
import { chmod, chown, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chooseAccount } from '../../src/postgres/account.ts'
import { findBinaries } from '../../src/postgres/binaries.ts'
import { prepareLauncher } from '../../src/postgres/launcher.ts'
import { runToEnd } from '../../src/postgres/run-to-end.ts'
import { type EmbeddedServer, startEmbeddedServer } from '../../src/postgres/server.ts'
import { ask, type Installation, install, kill, postmasterOf, stop, untilDeserted } from '../support/embedded.ts'
import { needs, root } from '../support/needs.ts'
import { silentLog } from '../support/postgres.ts'
import { makeFolder } from '../support/server.ts'
import { until } from '../support/until.ts'

const linux = () => (process.platform === 'linux' ? undefined : 'Linux')

describe('the role that the program works as', () => {
  let dataDir: string
  let server: EmbeddedServer
  beforeAll(async () => {
    dataDir = await makeFolder()
    server = await startEmbeddedServer({ dataDir, log: silentLog })
  })
  afterAll(() => server?.stop())

  it.each([
    ['run a program', "copy (select 1) to program 'touch /tmp/iclood-was-here'"],
    ['run a program and read what it says', "copy pg_temp.t from program 'id'"],
    ['read a file of the machine', "select pg_read_file('/etc/passwd')"],
    ['read one in pieces', "select pg_read_binary_file('/etc/passwd', 0, 10)"],
    ['list a folder', "select pg_ls_dir('/')"],
    ['take a file in as a table', "copy pg_temp.t from '/etc/passwd'"],
    ['take a file in as a large object', "select lo_import('/etc/passwd')"],
    ['write a file', "copy (select 1) to '/tmp/iclood-was-here'"],
    ['load a library', "load '/tmp/library.so'"],
    ['add a function in C', "create function f() returns int language c as '/tmp/library.so', 'f'"],
    ['add a language', 'create extension plpython3u'],
    ['add an extension that reaches out', 'create extension postgres_fdw'],
    ['set what the server runs', "alter system set archive_command = 'id'"],
    ['become another role', 'set role iclood'],
    ['become one that runs programs', 'grant pg_execute_server_program to catalogue'],
    ['make itself a superuser', 'alter role catalogue superuser'],
    ['make another role', 'create role another'],
  ])('can’t %s', async (_, statement) => {
    const client = new pg.Client(server.connection)
    await client.connect()
    await client.query('create temporary table t (line text)')
    // 42501: insufficient privilege; 0A000: there is no such extension here.
    await expect(client.query(statement)).rejects.toMatchObject({ code: expect.stringMatching(/^(42501|0A000)$/) })
    await client.end()
  })

  it('is the only one that is let in: the superuser is not, by whoever reaches the socket', async () => {
    expect(server.connection.user).toBe('catalogue')
    await expect(ask({ ...server.connection, user: 'iclood' }, 'select 1')).rejects.toMatchObject({ code: '28000' })
  })
})

describe('a cluster of version 0.2, where all belongs to the superuser that the program worked as', () => {
  let made: string
  const log = silentLog

  /** As 0.2 made it, with the kinds of things that migrations make. */
  beforeAll(async () => {
    made = await makeFolder()
    const server = await startEmbeddedServer({ dataDir: made, log })
    await server.stop()
    const cluster = join(made, 'postgres')
    const account = await chooseAccount(made, cluster)
    const launcher = await prepareLauncher(made, account)
    const { postgres } = await findBinaries(made, account)
    const statements = [
      "create type kind as enum ('photo', 'video')",
      'create table kept (id bigint generated always as identity, old serial, what kind, answer int)',
      'create function told() returns trigger language plpgsql as $do$ begin return null; end $do$',
      'create trigger tells after insert on kept for each row execute function told()',
      "insert into kept (what, answer) values ('photo', 42)",
      'create view seen as select answer from kept',
      'drop owned by catalogue',
      'drop role catalogue',
    ]
    const input = statements.map((statement) => `${statement}\n`).join('')
    const args = ['--single', '-D', '/proc/self/cwd', '-c', 'exit_on_error=on', 'postgres']
    await runToEnd(launcher, postgres, args, { folder: cluster, input, otherwise: 'failed', log })
    await writeFile(join(cluster, 'pg_hba.conf'), 'local all all trust\nhost all all all reject\n')
  }, 0)

  async function expectHandedOver(dataDir: string): Promise<void> {
    const server = await startEmbeddedServer({ dataDir, log })
    const { connection } = server
    try {
      expect(await ask(connection, 'select answer from seen')).toBe(42)
      await ask(connection, "insert into kept (what, answer) values ('video', 1)")
      for (const change of [
        'alter table kept add more int',
        "alter type kind add value 'live'",
        'drop view seen',
        'create or replace function told() returns trigger language plpgsql as $$ begin return null; end $$',
        'create table more (id int)',
      ]) {
        await ask(connection, change)
      }
      expect(await ask(connection, 'select rolsuper from pg_roles where rolname = current_user')).toBe(false)
      expect(
        await ask(
          connection,
          `select count(*)::int from pg_class where relnamespace = 'public'::regnamespace and relkind <> 'i'
            and relowner <> 'catalogue'::regrole`,
        ),
      ).toBe(0)
      await expect(ask({ ...connection, user: 'iclood' }, 'select 1')).rejects.toMatchObject({ code: '28000' })
    } finally {
      await server.stop()
    }
  }

  /** Another such cluster. */
  async function copy(): Promise<string> {
    const dataDir = await makeFolder()
    await cp(join(made, 'postgres'), join(dataDir, 'postgres'), { recursive: true })
    const { uid, gid } = await stat(join(made, 'postgres'))
    const names = await readdir(join(dataDir, 'postgres'), { recursive: true })
    for (const name of ['', ...names]) await chown(join(dataDir, 'postgres', name), uid, gid)
    return dataDir
  }

  it('is handed over at the start, with all that is in it, and the superuser is let in no more', async () => {
    await expectHandedOver(await copy())
  })

  it('is handed over by the next start if the server is killed at any moment of that', needs(linux()), async () => {
    const installed: Installation = await install({ ownPackage: false })
    await chmod(installed.folder, 0o755)
    const dataDir = await copy()
    const cluster = join(dataDir, 'postgres')
    const moments: [string, () => Promise<unknown>][] = [
      ['it has begun', () => stat(join(cluster, 'postmaster.pid'))],
      ['it is about to say so', () => stat(join(cluster, 'pg_hba.conf.new'))],
      ['it has said so', async () => /Written by iClood/.test(await readFile(join(cluster, 'pg_hba.conf'), 'utf8'))],
    ]
    for (const [moment, happens] of moments) {
      const program = installed.run(dataDir)
      await until(moment, async () => {
        if ((await happens().catch(() => false)) !== false) return true
        // What lasts a moment may be missed: then it is over.
        return /Written by iClood/.test(await readFile(join(cluster, 'pg_hba.conf'), 'utf8').catch(() => ''))
      })
      await kill(program)
    }
    await untilDeserted(cluster)
    // All is done, and nothing says so yet.
    await writeFile(join(cluster, 'pg_hba.conf'), 'local all all trust\n')
    await expectHandedOver(dataDir)
  })
})

describe('started by root in a folder that is closed to everybody else', needs(linux(), root()), () => {
  it('PostgreSQL has no capabilities, no groups but its own, and can’t gain any', async () => {
    const installed = await install({ ownPackage: false })
    const above = await makeFolder()
    await chmod(above, 0o700)
    // Too long for a socket's address as well.
    const dataDir = join(above, 'x'.repeat(120), 'data')
    await mkdir(dataDir, { recursive: true })
    const program = installed.run(dataDir)
    await program.connection
    const postmaster = await postmasterOf(join(dataDir, 'postgres'))
    const status = await readFile(`/proc/${postmaster}/status`, 'utf8')
    expect(status).not.toMatch(/^Uid:\s+0\s/m)
    for (const set of ['Inh', 'Prm', 'Eff', 'Amb']) expect(status).toMatch(new RegExp(`^Cap${set}:\\s+0+$`, 'm'))
    expect(status).toMatch(/^NoNewPrivs:\s+1$/m)
    expect(status).toMatch(/^Groups:\s*$/m)
    await stop(program)
  })

  it('takes nothing from a folder of another user in /tmp that bears the name of its socket’s', async () => {
    const dataDir = join(await makeFolder(), 'x'.repeat(120))
    const name = createHash('sha256').update(join(dataDir, 'postgres')).digest('hex').slice(0, 16)
    const squatted = await mkdtemp('/tmp/iclood-squat-')
    await rename(squatted, `/tmp/iclood-${name}`)
    await chmod(`/tmp/iclood-${name}`, 0o777)
    const server = await startEmbeddedServer({ dataDir, log: silentLog })
    expect(await ask(server.connection, 'select 42')).toBe(42)
    await server.stop()
    await rm(`/tmp/iclood-${name}`, { recursive: true })
  })
})
