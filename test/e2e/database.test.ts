import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chown, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { findBinaries } from '../../src/postgres/binaries.ts'
import { originalsIn, uploadsIn } from '../support/drives.ts'
import { jpeg, noise } from '../support/media.ts'
import { needs } from '../support/needs.ts'
import { get, post, upload } from '../support/phone.ts'
import { freePort } from '../support/ports.ts'
import { RawConnection, rawUpload, uploadHead } from '../support/raw-http.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

const DEBIAN = '/usr/lib/postgresql/15/bin'
let seed = 0
const photo = (size = 40_000) => jpeg({ date: '2024:07:01 12:00:00', size, seed: `database ${seed++}` })

/** A PostgreSQL as an administrator runs it: on TCP, with a password, not ours to start. */
interface External {
  readonly port: number
  url(database: string, scheme?: string): string
  create(database: string): Promise<void>
  ask(database: string, question: string): Promise<Record<string, unknown>[]>
  start(): Promise<void>
  stop(mode: 'fast' | 'immediate'): Promise<void>
  remove(): Promise<void>
}

const PASSWORD = 'p@ss/wörd'

async function makeExternal(bin: string): Promise<External> {
  const folder = await mkdtemp(join(tmpdir(), 'iclood-external-'))
  const port = await freePort()
  const account = await unprivileged()
  if (account !== undefined) await chown(folder, account.uid, account.gid)
  const data = join(folder, 'data')
  const run = async (program: string, args: string[]) => {
    const child = spawn(join(bin, program), args, { ...account, cwd: folder, env: {}, stdio: 'ignore' })
    const [code] = await once(child, 'exit')
    if (code !== 0) throw new Error(`${program} ended with ${code}`)
  }
  await writeFile(join(folder, 'password'), PASSWORD)
  if (account !== undefined) await chown(join(folder, 'password'), account.uid, account.gid)
  await run('initdb', [
    '-D',
    data,
    '-U',
    'owner',
    '-A',
    'md5',
    '-E',
    'UTF8',
    '--locale=C',
    '-N',
    `--pwfile=${folder}/password`,
  ])
  const settings = `-p ${port} -k ${folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=30`
  const start = () => run('pg_ctl', ['-D', data, '-w', '-o', settings, '-l', join(folder, 'log'), 'start'])
  const stop = (mode: string) => run('pg_ctl', ['-D', data, '-w', '-m', mode, 'stop'])
  await start()

  const ask = async (database: string, question: string) => {
    const client = new pg.Client({ host: '127.0.0.1', port, user: 'owner', password: PASSWORD, database })
    await client.connect()
    try {
      return (await client.query<Record<string, unknown>>(question)).rows
    } finally {
      await client.end()
    }
  }
  return {
    port,
    url: (database, scheme = 'postgresql') =>
      `${scheme}://owner:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}/${database}`,
    create: async (database) => {
      await ask('postgres', `create database ${database}`)
    },
    ask,
    start,
    stop,
    remove: async () => {
      // It may have been stopped by the test.
      await stop('immediate').catch(() => {})
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** PostgreSQL refuses to run as root. */
async function unprivileged(): Promise<{ uid: number; gid: number } | undefined> {
  if (userInfo().uid !== 0) return undefined
  const [, , uid, gid] = (await readFile('/etc/passwd', 'utf8')).match(/^nobody:([^:]*):(\d+):(\d+)/m) ?? []
  return { uid: Number(uid), gid: Number(gid) }
}

const copies: string[] = []
afterAll(() => Promise.all(copies.map((copy) => rm(copy, { recursive: true, force: true }))))

/** The binaries that come with this program, where another account can read them. */
async function ownBinaries(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'iclood-binaries-'))
  copies.push(folder)
  const account = await unprivileged()
  const { postgres } = await findBinaries(folder, undefined)
  const bin = join(postgres, '..')
  if (account === undefined) return bin
  const copy = join(folder, 'native')
  await promisify(execFile)('cp', ['-a', join(bin, '..'), copy])
  await promisify(execFile)('chmod', ['-R', 'a+rX', folder])
  return join(copy, 'bin')
}

const versions = [
  { name: 'the PostgreSQL that comes with it', missing: undefined, bin: ownBinaries },
  {
    name: 'Debian’s PostgreSQL 15',
    missing: (await readdir(DEBIAN).catch(() => undefined))
      ? undefined
      : 'PostgreSQL 15 (apt-get install postgresql-15)',
    bin: async () => DEBIAN,
  },
]

describe.each(versions)('a database elsewhere: $name', ({ missing, bin }) => {
  let external: External
  let folder: string
  let server: TestServer | undefined

  beforeAll(async () => {
    if (missing === undefined) external = await makeExternal(await bin())
  })
  afterAll(() => external?.remove())
  afterEach(async () => {
    await server?.stop()
    server = undefined
    if (folder !== undefined) await removeFolder(folder)
  })

  const start = async (env: Record<string, string>) => {
    folder = await makeFolder()
    server = await startServer(folder, env)
    return server
  }

  it('is used by any of its addresses, SQLAlchemy’s too', needs(missing), async () => {
    await external.create('addresses')
    const bytes = photo()
    for (const scheme of ['postgresql', 'postgres', 'postgresql+psycopg2', 'postgresql+psycopg']) {
      const running = await start({ DATABASE_URL: external.url('addresses', scheme) })
      // The same household elsewhere finds its catalogue, and misses its drive.
      const isFirst = scheme === 'postgresql'
      expect((await post(running.url, '/photos/new', { files: [] })).status, scheme).toBe(isFirst ? 200 : 503)
      expect(running.output()).not.toContain(encodeURIComponent(PASSWORD))
      expect(running.output()).not.toContain(PASSWORD)
      expect(await readdir(join(folder, 'data'))).not.toContain('postgres')
      if (isFirst) {
        expect((await upload(running.url, bytes)).status).toBe(201)
        await running.stop()
        await removeFolder(folder)
        continue
      }
      expect((await get(running.url, '/backup/log')).body).toMatchObject({ total: 1 })
      expect((await upload(running.url, bytes)).body).toMatchObject({ code: 'drive_missing' })
      await running.stop()
      await removeFolder(folder)
    }
  })

  it('may be away at the start: the process lives, says so, and comes up by itself', needs(missing), async () => {
    await external.create('late')
    await external.stop('fast')
    const running = await start({ DATABASE_URL: external.url('late') })
    try {
      const answers = [
        await get(running.url, '/backup/log'),
        await get(running.url, '/backup/history'),
        await get(running.url, '/storage/status'),
        await get(running.url, '/storage/usage'),
        await get(running.url, '/photos/ignored'),
        await post(running.url, '/photos/new', { files: [{ path: 'a' }] }),
        await post(running.url, '/photos/ignore', { files: [{ path: 'a' }] }),
        await upload(running.url, photo()),
      ]
      for (const answer of answers) {
        expect(answer).toMatchObject({ status: 503, body: { status: 'error', code: 'database_unavailable' } })
        expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
      }
      expect((await get(running.url, '/ping')).body).toMatchObject({ status: 'success' })
      expect((await get(running.url, '/openapi.json')).status).toBe(200)
      expect(running.output()).toContain('database_unavailable')
      expect(running.output()).not.toContain(PASSWORD)
    } finally {
      await external.start()
    }
    await until('it takes photos', async () => (await upload(running.url, photo())).status === 201)
  })

  it(
    'may stop in the middle of uploads: they are refused and dropped, and service resumes',
    needs(missing),
    async () => {
      await external.create('restarted')
      const running = await start({ DATABASE_URL: external.url('restarted') })
      const known = photo()
      expect((await upload(running.url, known)).status).toBe(201)
      // A phone in the middle of a film when the database goes.
      const bytes = jpeg({ date: '2024:07:01 12:00:00', size: 5_000_000, seed: 'while it stopped' })
      const connection = await RawConnection.open(running.port)
      const { boundary, head, tail } = rawUpload()
      const whole = Buffer.concat([head, bytes, tail])
      await connection.write(uploadHead(boundary, whole.length))
      await connection.write(whole.subarray(0, 3_000_000))
      await until('some of it is staged', async () => (await uploadsIn(running.library)).length === 1)

      for (const mode of ['fast', 'immediate'] as const) {
        let isOver = false
        const answers: number[] = []
        const sending = Promise.all(
          Array.from({ length: 4 }, async () => {
            while (!isOver) answers.push((await upload(running.url, photo(400_000))).status)
          }),
        )
        await until('uploads run', async () => answers.length > 4)
        await external.stop(mode)
        try {
          await until('uploads are refused', async () => answers.includes(503))
          isOver = true
          await sending
          expect(new Set(answers)).toEqual(new Set([201, 503]))
          const answer = await upload(running.url, photo())
          expect(answer).toMatchObject({ status: 503, body: { code: 'database_unavailable' } })
          expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
          if (mode === 'fast') {
            await connection.write(whole.subarray(3_000_000))
            expect((await connection.answer())?.json()).toMatchObject({ code: 'database_unavailable' })
            connection.close()
          }
          expect(await uploadsIn(running.library)).toEqual([])
          expect((await get(running.url, '/ping')).status).toBe(200)
        } finally {
          await external.start()
        }
        await until('service resumes', async () => (await get(running.url, '/backup/log')).status === 200)
        expect(await upload(running.url, known)).toMatchObject({ status: 200 })
      }

      expect((await upload(running.url, bytes)).status).toBe(201)
      const rows = await external.ask('restarted', 'select path from files order by path collate "C"')
      // Every row's file is there; a file that no row knows yet is known once it is sent again.
      const originals = await originalsIn(running.library)
      expect(originals).toEqual(expect.arrayContaining(rows.map((row) => row['path'])))
    },
  )

  it('what was committed when the database went is adopted when it is sent again', needs(missing), async () => {
    await external.create('adopting')
    const running = await start({ DATABASE_URL: external.url('adopting') })
    await upload(running.url, photo())
    // The row can't be written: everything up to there can.
    await external.ask(
      'adopting',
      `create function refuse() returns trigger language plpgsql as $$ begin
         raise exception using errcode = 'cannot_connect_now'; end $$`,
    )
    await external.ask('adopting', 'create trigger refuse before insert on files execute function refuse()')
    const photos = [photo(), photo(), photo()]
    for (const bytes of photos) {
      expect(await upload(running.url, bytes, { name: 'SAME.JPG' })).toMatchObject({ status: 503 })
    }
    expect(await originalsIn(running.library)).toHaveLength(4)
    await external.ask('adopting', 'drop trigger refuse on files')

    const other = photo()
    expect((await upload(running.url, other, { name: 'SAME.JPG' })).status).toBe(201)
    for (const bytes of photos) {
      expect(await upload(running.url, bytes, { name: 'SAME.JPG' })).toMatchObject({ status: 201 })
      expect(await upload(running.url, bytes, { name: 'SAME.JPG' })).toMatchObject({ status: 200 })
    }
    expect(await originalsIn(running.library)).toHaveLength(5)
  })

  it('several servers may start at once on an empty one', needs(missing), async () => {
    await external.create('crowded')
    const folders = await Promise.all([0, 1, 2, 3].map(() => makeFolder()))
    const servers = await Promise.all(
      folders.map((each) => startServer(each, { DATABASE_URL: external.url('crowded') })),
    )
    try {
      const answers = await Promise.all(servers.map((each) => upload(each.url, photo())))
      // One library is the household's; to the others, it is another drive.
      expect(answers.map((answer) => answer.status).sort()).toEqual([201, 503, 503, 503])
      for (const each of servers) {
        expect(await until('the schema is there', async () => (await get(each.url, '/backup/log')).body.total)).toBe(1)
        expect(each.output()).not.toMatch(/"level":(50|60)/)
      }
      const migrations = await external.ask('crowded', 'select name from kysely_migration order by name')
      expect(migrations.map((row) => row['name'])).toEqual([...new Set(migrations.map((row) => row['name']))])
    } finally {
      await Promise.all(servers.map((each) => each.stop()))
      await Promise.all(folders.map(removeFolder))
    }
  })

  it('that refuses the password is away, too, and the message does not hold it', needs(missing), async () => {
    const running = await start({
      DATABASE_URL: `postgresql://owner:${noise(8, 'wrong').toString('hex')}@127.0.0.1:${external.port}/postgres`,
    })
    expect(await get(running.url, '/backup/log')).toMatchObject({ status: 503, body: { code: 'database_unavailable' } })
    expect(running.output()).not.toContain(noise(8, 'wrong').toString('hex'))
    expect(running.output()).toContain('password authentication failed')
  })
})
