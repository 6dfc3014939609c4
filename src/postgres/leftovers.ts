import { open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { AppError, hasErrno } from '../errors.ts'
import type { Account } from './account.ts'
import { findServerProcesses } from './processes.ts'
import type { Log } from './server-log.ts'
import { clusterName, socketPath } from './socket.ts'

/** How long an orphan may take for each kind of shutdown before the next is tried. */
const FAST_SHUTDOWN_MS = 20_000
const IMMEDIATE_SHUTDOWN_MS = 27_000
const GIVE_UP_MS = 40_000

/** PostgreSQL takes a lock file as stale when no process has its number; the largest 32-bit one is never given. */
const NOBODY = 2 ** 31 - 1

/**
 * Clears away what a killed server left of `cluster`, so that PostgreSQL can start on it: stops any that still runs,
 * and makes stale lock files harmless even where their number now belongs to another process, which is left in peace.
 * The caller holds the lock on DATA_DIR, so whatever runs here has lost its parent.
 */
export async function clearLeftovers(
  cluster: string,
  socketFolder: string,
  account: Account | undefined,
  log: Log,
): Promise<void> {
  await stopOrphans(cluster, log)
  await disownLockFile(join(cluster, 'postmaster.pid'), account)
  await rm(`${socketPath(socketFolder)}.lock`, { force: true })
}

/** Ends every PostgreSQL that runs on `cluster`; returns once none is left. */
export async function stopOrphans(cluster: string, log: Log): Promise<void> {
  const name = clusterName(cluster)
  const asked = new Set<string>()
  const started = performance.now()
  for (;;) {
    const orphans = await findServerProcesses(cluster, name)
    if (orphans.length === 0) return

    const waited = performance.now() - started
    if (waited > GIVE_UP_MS) {
      throw new AppError(
        'database_unavailable',
        `A PostgreSQL from an earlier start still runs on ${cluster} (processes ${orphans.map((o) => o.pid).join(', ')}) ` +
          "and can't be ended. Restart the machine.",
      )
    }
    // Without its postmaster a server has crashed already: what is left of it can only be in the way.
    const isHeaded = orphans.some((orphan) => orphan.isPostmaster)
    const signal =
      !isHeaded || waited > IMMEDIATE_SHUTDOWN_MS ? 'SIGKILL' : waited > FAST_SHUTDOWN_MS ? 'SIGQUIT' : 'SIGINT'
    for (const { pid, isPostmaster } of orphans) {
      if ((isHeaded && signal !== 'SIGKILL' && !isPostmaster) || asked.has(`${pid} ${signal}`)) continue
      asked.add(`${pid} ${signal}`)
      log.info({ pid, signal }, 'stopping a PostgreSQL process left by an earlier start')
      send(pid, signal)
    }
    await delay(20)
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    // ESRCH: it has ended since. EPERM: another account's; the loop ends with the message that names it.
    if (!hasErrno(error, 'ESRCH', 'EPERM')) throw error
  }
}

/**
 * Replaces the number in a stale `postmaster.pid` by one that no process has. The rest of the file stays: PostgreSQL
 * reads there which shared memory to check for processes that we couldn't see. A file without a number, as a power cut
 * may leave it, stops every start and says nothing, so it goes.
 */
async function disownLockFile(path: string, account: Account | undefined): Promise<void> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return
    throw error
  }
  if (!/^-?\d+$/m.test(text.split('\n')[0] ?? '')) return rm(path)

  // Exclusively made, then renamed: as root we would else write through a link that the account put there.
  const staging = `${path}.new`
  await rm(staging, { force: true })
  const file = await open(staging, 'wx', 0o600)
  try {
    await file.writeFile(text.replace(/^-?\d+/, String(NOBODY)))
    if (account) await file.chown(account.uid, account.gid)
  } finally {
    await file.close()
  }
  await rename(staging, path)
}
