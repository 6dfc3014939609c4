import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { endsWithFolder, folderEndsWithTest } from './ends.ts'
import { freePort } from './ports.ts'
import { PROGRAM, prepareDatabase, removeDatabases, surroundings } from './surroundings.ts'
import { until } from './until.ts'

/** A real server in a process of its own, as a user starts it, on folders of its own. */
export interface TestServer {
  readonly url: string
  readonly port: number
  readonly pid: number
  /** The working directory; `data/photos` below it is the library unless `UPLOAD_FOLDER` says otherwise. */
  readonly folder: string
  readonly library: string
  /** All that the server has printed so far. */
  output(): string
  /** SIGTERM; resolves to the exit code. */
  stop(): Promise<number | null>
  /** kill -9; resolves when the process is gone. */
  kill(): Promise<void>
  /** Resolves when the process is gone, whatever has ended it. */
  ended(): Promise<void>
}

/** Makes an empty folder for a test, or a file, below `TMPDIR` or in another place; it goes at the end of that. */
export async function makeFolder(place = tmpdir()): Promise<string> {
  const folder = await mkdtemp(join(place, 'iclood-test-'))
  folderEndsWithTest(folder, () => removeFolder(folder))
  return folder
}

/** With the databases of servers that were started in it. Idempotent. */
export async function removeFolder(folder: string): Promise<void> {
  await removeDatabases(folder)
  // An embedded database that was killed with its server may still be writing its last words.
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
}

/**
 * Starts the compiled server in `folder` and returns when it answers `/ping` and is ready, or says why not (throws with
 * what it printed if it does not come up). `env` is added to an environment that holds no other settings of the server.
 * Its database is on the run's PostgreSQL, the same one at each start in the folder: `EMBEDDED` among `env` has it run
 * its own one. Killed before its folder goes, if it still runs then.
 */
export async function startServer(folder: string, env: Record<string, string> = {}): Promise<TestServer> {
  const port = Number(env['PORT'] ?? (await freePort()))
  await prepareDatabase(folder, env)
  const child = spawn(process.execPath, [PROGRAM, 'serve'], {
    cwd: folder,
    env: { PORT: String(port), ...surroundings(folder, env) },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  endsWithFolder(folder, () => end(child, 'SIGKILL'))
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  const url = `http://127.0.0.1:${port}`
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null
  await until(
    'the server comes up',
    async () => {
      if (hasEnded()) throw new Error(`the server ended: ${output}`)
      const answer = await fetch(`${url}/ping`).catch(() => undefined)
      await answer?.arrayBuffer()
      return answer?.ok
    },
    () => output,
  )
  // On a busy machine it answers before its database has started, to say so; most tests want what comes after.
  if (env['LOG_LEVEL'] === undefined) {
    const isSettled = async () => /"msg":"ready for photos"|"code":"\w+"/.test(output) || hasEnded()
    await until('the server is ready, or says what it waits for', isSettled, () => output)
    if (hasEnded()) throw new Error(`the server ended: ${output}`)
  }
  return {
    url,
    port,
    pid: child.pid ?? -1,
    folder,
    library: env['UPLOAD_FOLDER'] ?? join(folder, 'data/photos'),
    output: () => output,
    stop: () => end(child, 'SIGTERM'),
    kill: async () => {
      await end(child, 'SIGKILL')
    },
    ended: async () => {
      if (!hasEnded()) await once(child, 'exit')
    },
  }
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill(signal)
    await once(child, 'exit')
  }
  return child.exitCode
}
