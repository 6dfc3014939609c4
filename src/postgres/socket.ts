import { createHash } from 'node:crypto'
import { openSync } from 'node:fs'
import { lchown, lstat, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError, hasErrno } from '../errors.ts'
import type { Account } from './account.ts'
import { nameWithin } from './launcher.ts'
import { PORT } from './settings.ts'

/** The longest path that fits a Unix socket's address, in bytes: sun_path less its closing zero. */
const MAX_SOCKET_PATH = process.platform === 'linux' ? 107 : 103

/** A short word for `cluster` that no other folder of this machine has: the same at every start. */
export function clusterName(cluster: string): string {
  return `iclood-${createHash('sha256').update(cluster).digest('hex').slice(0, 16)}`
}

export function socketPath(folder: string): string {
  return join(folder, `.s.PGSQL.${PORT}`)
}

function fits(folder: string): boolean {
  return Buffer.byteLength(socketPath(folder)) <= MAX_SOCKET_PATH
}

/**
 * The folder of the Unix socket of a server that runs on `cluster`: the cluster itself, whose mode is 0700. Where that
 * path is too long for a socket and the system has no shorter name for it, one in /tmp stands in, whose name follows
 * from the path, so that every start finds it again.
 */
export function socketFolderOf(cluster: string): string {
  return process.platform === 'linux' || fits(cluster) ? cluster : join('/tmp', clusterName(cluster))
}

/**
 * A name of that folder that is short enough for this process to connect to. It may hold for this process alone, and
 * for as long as it lives.
 */
export function connectableName(cluster: string): string {
  const folder = socketFolderOf(cluster)
  return fits(folder) ? folder : `/proc/self/fd/${openSync(folder, 'r')}`
}

/**
 * Makes sure that the folder for the socket of `cluster`, in which postgres is started, is there and nobody else's.
 * Returns its name for postgres. Throws `database_unavailable` when someone else has taken that name.
 */
export async function prepareSocketFolder(cluster: string, account: Account | undefined): Promise<string> {
  const folder = socketFolderOf(cluster)
  if (folder === cluster) return nameWithin(cluster)

  try {
    await mkdir(folder, { mode: 0o700 })
  } catch (error) {
    if (!hasErrno(error, 'EEXIST')) throw error
  }
  const found = await lstat(folder)
  const owners = [process.getuid?.(), account?.uid]
  if (!found.isDirectory() || (found.mode & 0o077) !== 0 || !owners.includes(found.uid)) {
    throw new AppError(
      'database_unavailable',
      `The path of DATA_DIR is too long for a Unix socket in it, and the folder that stands in, ${folder}, is not this ` +
        "server's own. Remove that folder, or set DATA_DIR to a shorter path.",
    )
  }
  if (account && found.uid !== account.uid) await lchown(folder, account.uid, account.gid)
  return folder
}
