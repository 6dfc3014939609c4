import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { promisify } from 'node:util'
import { AppError } from '../../errors.ts'
import { type Account, isOpenTo } from './account.ts'

/** How PostgreSQL's programs are started here: as whom, and tied to our life where the system can do that. */
export interface Launcher {
  /** Undefined: as ourselves. */
  readonly account: Account | undefined
  /** True when the programs may pass and read folders that are closed to `account`. */
  readonly passesClosedFolders: boolean
  /**
   * Starts `program` outside our process group: a Ctrl-C in the terminal goes to the whole group, and the database must
   * outlast the uploads that are being finished. Where `setpriv` exists, the kernel sends it `deathSignal` when the
   * thread that called this ends, however it ends. Its output is one pipe, `stderr`.
   */
  launch(program: string, args: readonly string[], deathSignal: 'INT' | 'KILL'): ChildProcess
}

// A closed environment: PGDATA, PGOPTIONS, LD_LIBRARY_PATH or TZ of ours must not reach the database.
const ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' }

/**
 * Finds out how to start programs as `account` for a cluster under `dataDir`. Where `dataDir` is closed to that account
 * (root's home, say), the programs get the one capability of reading past permissions, and keep it: PostgreSQL goes
 * through the full path again and again. Throws `database_unavailable` where the system can't do that.
 */
export async function prepareLauncher(dataDir: string, account: Account | undefined): Promise<Launcher> {
  if (account === undefined || (await isOpenTo(account, dataDir))) {
    const watched = await works(watchedBy([]))
    return {
      account,
      passesClosedFolders: false,
      launch: (program, args, deathSignal) =>
        start([...(watched ? watchedBy([], deathSignal) : []), program, ...args], account),
    }
  }

  // Containers keep the second but not the first.
  for (const capability of ['dac_read_search', 'dac_override']) {
    const privileges = privilegesOf(account, capability)
    if (!(await works(watchedBy(privileges)))) continue
    return {
      account,
      passesClosedFolders: true,
      launch: (program, args, deathSignal) =>
        start([...watchedBy(privileges, deathSignal), program, ...args], undefined),
    }
  }
  throw new AppError(
    'database_unavailable',
    `PostgreSQL refuses to run as root, and the account it would run under (uid ${account.uid}) can't enter the folder ` +
      `of DATA_DIR (${dataDir}). Set DATA_DIR to a folder that is open to everybody, such as /var/lib/iclood, or start ` +
      'the server as an ordinary user.',
  )
}

/**
 * setpriv's arguments for `account` with one ambient capability. PostgreSQL looks at its own program with access(2),
 * which ignores capabilities of an ordinary user unless the `no_setuid_fixup` bit is set.
 */
function privilegesOf(account: Account, capability: string): string[] {
  return [
    ...['--reuid', String(account.uid), '--regid', String(account.gid), '--clear-groups'],
    ...['--securebits', '+no_setuid_fixup', '--inh-caps', `+${capability}`, '--ambient-caps', `+${capability}`],
  ]
}

/** The kernel forgets the death signal when ids change, so it is set by the last program before PostgreSQL's. */
function watchedBy(privileges: readonly string[], deathSignal: 'INT' | 'KILL' = 'KILL'): string[] {
  return ['setpriv', ...privileges, '--pdeathsig', deathSignal, '--']
}

async function works([command = '', ...args]: readonly string[]): Promise<boolean> {
  if (process.platform !== 'linux') return false
  try {
    await promisify(execFile)(command, [...args, 'true'], { env: ENVIRONMENT })
    return true
  } catch {
    // Not there, too old for the option, or not permitted: all mean that we do without.
    return false
  }
}

function start([command = '', ...args]: readonly string[], account: Account | undefined): ChildProcess {
  return spawn(command, args, {
    cwd: '/',
    env: ENVIRONMENT,
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
    ...(account && { uid: account.uid, gid: account.gid }),
  })
}
