/*
 * postgres/: A PostgreSQL of our own, as a child process in DATA_DIR: found, initialised, started, watched, stopped.
 */

import { readFile, realpath } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { makeFolders } from '../base/make-folders.ts'
import { AppError, hasErrno } from '../errors.ts'
import { chooseAccount } from './account.ts'
import { findBinaries } from './binaries.ts'
import { explainFileError } from './failure.ts'
import { initializeCluster } from './initialize.ts'
import { nameWithin, prepareLauncher } from './launcher.ts'
import { clearLeftovers, stopOrphans } from './leftovers.ts'
import { awaitPostmaster } from './postmaster.ts'
import { establishRoles } from './roles.ts'
import type { Log } from './server-log.ts'
import { DATABASE, PORT, ROLE, serverArguments } from './settings.ts'
import { clusterName, connectableName, prepareSocketFolder, socketFolderOf } from './socket.ts'
import { supervise } from './supervisor.ts'

export interface EmbeddedServer {
  /**
   * For `pg` in this process: `host` is the folder of the Unix socket. It stays the same when the server is started
   * again. The role is no superuser.
   */
  readonly connection: {
    readonly host: string
    readonly port: number
    readonly user: string
    readonly database: string
  }
  /** Shuts the server down cleanly and resolves once it has ended. Idempotent. */
  stop(): Promise<void>
}

/**
 * Starts PostgreSQL on the cluster in `<dataDir>/postgres`, which the first start makes, and returns once it accepts
 * connections. Whatever a killed server left behind is cleared away first, so the caller must hold the lock on
 * `dataDir`. A server that dies is started again, and clients find it under the same `connection`. It does not outlive
 * the thread that called this, where the system can arrange that; else the next start stops it.
 *
 * Throws `database_unavailable` or `disk_full`, with a message for the person who started the program, when the
 * platform has no PostgreSQL, when `dataDir` can't be used, or when the cluster is of another major version. `signal`
 * gives up the start and throws its reason.
 */
export async function startEmbeddedServer(options: {
  readonly dataDir: string
  readonly log: Log
  readonly signal?: AbortSignal
}): Promise<EmbeddedServer> {
  const { log, signal } = options
  try {
    await makeFolders(options.dataDir)
    const dataDir = await realpath(resolve(options.dataDir))
    const cluster = join(dataDir, 'postgres')

    const account = await chooseAccount(dataDir, cluster)
    const launcher = await prepareLauncher(dataDir, account)
    const binaries = await findBinaries(dataDir, account)

    const version = await readVersion(cluster)
    if (version === undefined) {
      log.info({ folder: cluster }, 'making the database')
      await initializeCluster(cluster, binaries, launcher, log, signal)
    } else if (version !== String(binaries.major)) {
      throw new AppError(
        'database_unavailable',
        `The database in ${cluster} was made by PostgreSQL ${version}, and this version of the server brings ` +
          `PostgreSQL ${binaries.major}. Start the version of the server that made it; or move it over with pg_dump and ` +
          'pg_restore; or set DATABASE_URL to a PostgreSQL that holds it.',
      )
    }

    const clear = () => clearLeftovers(cluster, socketFolderOf(cluster), account, log)
    await clear()
    await establishRoles(cluster, binaries, launcher, log, signal)

    const socketFolder = await prepareSocketFolder(cluster, account)
    const args = serverArguments(nameWithin(cluster), socketFolder, clusterName(cluster))
    const { stop } = await supervise(
      async (signal) => {
        await clear()
        signal?.throwIfAborted()
        return awaitPostmaster(
          launcher.launch(binaries.postgres, args, { folder: cluster, deathSignal: 'INT' }),
          log,
          signal,
        )
      },
      log,
      signal,
    )
    return {
      connection: connectionTo(cluster),
      stop: async () => {
        await stop()
        // Had its first process been killed just before, the others may still be on their way out.
        await stopOrphans(cluster, log)
      },
    }
  } catch (error) {
    throw explainFileError(error, options.dataDir)
  }
}

/** How to connect to the server of the cluster in that folder (absolute, through no links). */
export function connectionTo(cluster: string): EmbeddedServer['connection'] {
  return { host: connectableName(cluster), port: PORT, user: ROLE, database: DATABASE }
}

/** Returns undefined when there is no cluster yet. */
async function readVersion(cluster: string): Promise<string | undefined> {
  try {
    return (await readFile(join(cluster, 'PG_VERSION'), 'utf8')).trim()
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined
    throw error
  }
}
