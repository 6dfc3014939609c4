import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('../../bin/iclood.cjs', import.meta.url))

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

/** Makes an empty folder for a test, below `TMPDIR` or in another place. */
export async function makeFolder(place = tmpdir()): Promise<string> {
  return mkdtemp(join(place, 'iclood-test-'))
}

export async function removeFolder(folder: string): Promise<void> {
  // An embedded database that was killed with its server may still be writing its last words.
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (typeof address !== 'object' || address === null) throw new Error('no port')
  return address.port
}

/**
 * Starts the compiled server in `folder` and returns when it answers `/ping` and is ready, or says why not (throws with what it
 * printed if it does not come up). `env` is
 * added to an environment that holds no other settings of the server.
 */
export async function startServer(folder: string, env: Record<string, string> = {}): Promise<TestServer> {
  const port = Number(env['PORT'] ?? (await freePort()))
  const child = spawn(process.execPath, [PROGRAM, 'serve'], {
    cwd: folder,
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      TMPDIR: process.env['TMPDIR'],
      PORT: String(port),
      MIN_FREE_SPACE: '1',
      TZ: 'Europe/Berlin',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  const url = `http://127.0.0.1:${port}`
  await untilUp(child, url, () => output)
  // On a busy machine it answers before its database has started, to say so; most tests want what comes after.
  if (env['LOG_LEVEL'] === undefined) await untilSettled(child, () => output)
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
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    },
  }
}

async function untilUp(child: ChildProcess, url: string, output: () => string): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`the server ended: ${output()}`)
    const answer = await fetch(`${url}/ping`).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer?.ok) return
    await setTimeout(50)
  }
  child.kill('SIGKILL')
  throw new Error(`the server did not come up: ${output()}`)
}

/** Waits until the server says that it is ready, or what it waits for. */
async function untilSettled(child: ChildProcess, output: () => string): Promise<void> {
  for (let tries = 0; tries < 1200; tries++) {
    if (/"msg":"ready for photos"|"code":"\w+"/.test(output()) || child.exitCode !== null) return
    await setTimeout(50)
  }
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill(signal)
    await once(child, 'exit')
  }
  return child.exitCode
}
