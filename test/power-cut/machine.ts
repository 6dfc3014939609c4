import { execFile } from 'node:child_process'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { hasErrno } from '../../src/errors.ts'
import { get } from '../support/phone.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { EMBEDDED } from '../support/surroundings.ts'
import { until } from '../support/until.ts'
import type { Disk } from './disk.ts'

const PROGRAM = fileURLToPath(new URL('../../bin/iclood.cjs', import.meta.url))

/** A computer with a server of ours whose library lies on `disk`, and whose power can be cut. */
export class Machine {
  readonly #disk: Disk
  readonly #folder: string
  readonly #env: Record<string, string>
  #server: TestServer | undefined

  /** `env` has settings beside UPLOAD_FOLDER; without others the database, too, lies on the disk. */
  constructor(disk: Disk, env: Record<string, string> = {}) {
    this.#disk = disk
    this.#folder = disk.beside
    this.#env = { ...EMBEDDED, UPLOAD_FOLDER: join(disk.path, 'photos'), DATA_DIR: join(disk.path, 'data'), ...env }
  }

  /** The server that runs. */
  get server(): TestServer {
    if (this.#server === undefined) throw new Error('the machine is off')
    return this.#server
  }

  /** Starts the server, with `env` added to its settings, and returns when it can take uploads. */
  async start(env: Record<string, string> = {}): Promise<TestServer> {
    const server = await startServer(this.#folder, { ...this.#env, ...env })
    this.#server = server
    // It answers already while its database recovers.
    await until('the server has its library', async () => {
      const { status } = await get(server.url, '/storage/status')
      return status === 200
    })
    return server
  }

  /** Begins to start the server, and cuts the power `after` ms. */
  async cutDuringStart(after: number): Promise<void> {
    let isStarting = true
    const starting = this.start()
      .catch(() => {})
      .finally(() => {
        isStarting = false
      })
    await setTimeout(after)
    do {
      await this.cut()
      // What the start has begun since has had no power.
      await Promise.race([starting, setTimeout(20)])
    } while (isStarting)
  }

  /** Cuts the power: the disk loses what was not flushed, and every process ends where it stands. */
  async cut(): Promise<void> {
    await this.#disk.cut()
    await this.#server?.kill()
    this.#server = undefined
    await killAllIn([this.#disk.path, this.#folder])
  }

  /** The power is back: the file system repairs itself. The server is not started yet. */
  restore(): Promise<void> {
    return this.#disk.restore()
  }

  /** Ends the server the proper way and returns its exit code. */
  async stop(): Promise<number | null> {
    const { server } = this
    this.#server = undefined
    return server.stop()
  }

  /**
   * Runs `iclood verify` beside the server and returns what it printed unless it found everything intact; `undefined`
   * then, and where the program has no such command.
   */
  async verify(): Promise<string | undefined> {
    if (!(await hasVerify())) return undefined
    const { PATH, HOME, TMPDIR } = process.env
    const env = { PATH, HOME, TMPDIR, MIN_FREE_SPACE: '1', TZ: 'Europe/Berlin', ...this.#env }
    const child = await execute([PROGRAM, 'verify', '--json'], { cwd: this.#folder, env })
    return child.code === 0 ? undefined : `iclood verify ended with ${child.code}: ${child.output}`
  }
}

let verifyIsThere: Promise<boolean> | undefined

/** Whether the program lists the command. */
function hasVerify(): Promise<boolean> {
  verifyIsThere ??= execute([PROGRAM, '--help'], {}).then(({ output }) => /^ +verify\b/m.test(output))
  return verifyIsThere
}

async function execute(args: readonly string[], options: { cwd?: string; env?: NodeJS.ProcessEnv }) {
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { ...options, maxBuffer: 2 ** 26 })
    return { code: 0, output: stdout + stderr }
  } catch (error) {
    const { code, stdout, stderr } = error as { code: unknown; stdout: string; stderr: string }
    return { code, output: stdout + stderr }
  }
}

/** kill -9 of every process that works in one of `folders` or was started for one; resolves when none is left. */
async function killAllIn(folders: readonly string[]): Promise<void> {
  await until('all processes are gone', async () => {
    const pids = await processesIn(folders)
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch (error) {
        if (!hasErrno(error, 'ESRCH')) throw error
      }
    }
    return pids.length === 0
  })
}

/** Asks the kernel alone: the folders' disk may not answer any more. */
async function processesIn(folders: readonly string[]): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))
  const found = await Promise.all(
    pids.map(async (pid) => {
      const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '')
      // One that has ended and waits for its parent has neither folder nor arguments.
      const args = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
      return folders.some((folder) => cwd.startsWith(folder) || args.includes(folder)) ? [Number(pid)] : []
    }),
  )
  return found.flat()
}
