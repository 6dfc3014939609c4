import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { promisify } from 'node:util'
import { AppError } from '../errors.ts'
import { type Account, isOpenTo } from './account.ts'

/** How PostgreSQL's programs are started here: as whom, and tied to our life where the system can do that. */
export interface Launcher {
  /** Undefined: as ourselves. */
  readonly account: Account | undefined
  /**
   * Starts `program` in `folder`, which it is told of as `nameWithin(folder)`, and outside our process group: a Ctrl-C
   * in the terminal goes to the whole group, and the database must outlast the uploads that are being finished. It has
   * no capabilities and no other groups than its account's, and can't gain any. Where `setpriv` exists, the kernel
   * sends it `deathSignal` when the thread that called this ends, however it ends. Its output is one pipe, `stderr`;
   * it reads `input`.
   */
  launch(
    program: string,
    args: readonly string[],
    options: { folder: string; deathSignal: 'INT' | 'KILL'; input?: string },
  ): ChildProcess
}

// A closed environment: PGDATA, PGOPTIONS, LD_LIBRARY_PATH or TZ of ours must not reach the database.
const ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' }

/** Whether the system has a name for the folder that a process works in. */
const HAS_NAME_FOR_CWD = process.platform === 'linux'

/**
 * The name of the folder that a program is started in, for that program and its children. On Linux it is one that needs
 * no way: what lies above may be closed to the account (root's home), or its name too long for a socket.
 */
export function nameWithin(folder: string): string {
  return HAS_NAME_FOR_CWD ? '/proc/self/cwd' : folder
}

/**
 * Finds out how to start programs as `account` for a cluster under `dataDir`. Throws `database_unavailable` where that
 * account can't reach it.
 */
export async function prepareLauncher(dataDir: string, account: Account | undefined): Promise<Launcher> {
  if (account !== undefined && !HAS_NAME_FOR_CWD && !(await isOpenTo(account, dataDir))) {
    throw new AppError(
      'database_unavailable',
      `PostgreSQL refuses to run as root, and the account it would run under (uid ${account.uid}) can't enter the folder ` +
        `of DATA_DIR (${dataDir}). Set DATA_DIR to a folder that is open to everybody, or start the server as an ` +
        'ordinary user.',
    )
  }
  const options = await findOptions()
  return {
    account,
    launch: (program, args, { folder, deathSignal, input }) => {
      const prefix = options === undefined ? [] : ['setpriv', ...options, '--pdeathsig', deathSignal, '--']
      const [command = program, ...rest] = [...prefix, program, ...args]
      // Node sets the account, and no groups beside it, after it has entered the folder.
      const child = spawn(command, rest, {
        cwd: folder,
        env: ENVIRONMENT,
        detached: true,
        stdio: [input === undefined ? 'ignore' : 'pipe', 'ignore', 'pipe'],
        ...(account && { uid: account.uid, gid: account.gid }),
      })
      // It may have ended before it has read all: how it ended says why.
      child.stdin?.on('error', () => {}).end(input)
      return child
    },
  }
}

/** What a service or a shell may have been given for a port below 1024 is nothing for a database. */
const WITHOUT_PRIVILEGES = ['--no-new-privs', '--inh-caps=-all', '--ambient-caps=-all']

/** The options that this system's setpriv takes; undefined where there is none that can tie programs to our life. */
async function findOptions(): Promise<readonly string[] | undefined> {
  for (const options of [WITHOUT_PRIVILEGES, []]) {
    try {
      await promisify(execFile)('setpriv', [...options, '--pdeathsig', 'KILL', '--', 'true'], { env: ENVIRONMENT })
      return options
    } catch {
      // Not there, too old for an option, or not permitted: all mean that we do without.
    }
  }
  return undefined
}
