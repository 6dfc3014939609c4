import { mkdtemp, open, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { giveFolder } from '../base/held-folder.ts'
import { AppError, hasErrno } from '../errors.ts'
import type { Binaries } from './binaries.ts'
import { type Launcher, nameWithin } from './launcher.ts'
import { runToEnd } from './run-to-end.ts'
import type { Log } from './server-log.ts'
import { initArguments } from './settings.ts'

/**
 * Makes a new, empty cluster, and gives it the name `cluster` only when it is complete and on the disk. A cut at any
 * moment leaves at most a folder named after `cluster` with `.new-` and six letters; those are removed first. The
 * caller holds the lock on the folder above. `signal` ends initdb, removes its work and throws the signal's reason.
 */
export async function initializeCluster(
  cluster: string,
  { initdb }: Binaries,
  launcher: Launcher,
  log: Log,
  signal?: AbortSignal,
): Promise<void> {
  const parent = dirname(cluster)
  const prefix = `${basename(cluster)}.new-`
  for (const leftover of await readdir(parent)) {
    if (leftover.startsWith(prefix)) await remove(join(parent, leftover))
  }

  const staging = await mkdtemp(join(parent, prefix))
  try {
    if (launcher.account) await giveFolder(staging, launcher.account)
    await runToEnd(launcher, initdb, initArguments(nameWithin(staging)), {
      folder: staging,
      otherwise: 'could not make its first database',
      log,
      signal,
    })
    await rename(staging, cluster)
  } catch (error) {
    await remove(staging)
    if (!hasErrno(error, 'ENOTEMPTY', 'EEXIST')) throw error
    throw new AppError(
      'database_unavailable',
      `The folder ${cluster} is where the database belongs, but what is in it is none (PG_VERSION is missing). ` +
        'Move the folder away, or set DATA_DIR to another.',
    )
  }
  // initdb has flushed what is inside; the name is an entry of the folder above.
  const folder = await open(parent, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** An initdb that lost its parent may still be writing for a moment, so a folder can fill again while it is emptied. */
async function remove(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
}
