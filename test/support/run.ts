import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { openDatabase } from '../../src/catalogue/connection.ts'
import { migrate } from '../../src/migrations/migrate.ts'
import { chooseAccount } from '../../src/postgres/account.ts'
import { findBinaries } from '../../src/postgres/binaries.ts'
import { initializeCluster } from '../../src/postgres/initialize.ts'
import { nameWithin, prepareLauncher } from '../../src/postgres/launcher.ts'
import { awaitPostmaster, type Postmaster } from '../../src/postgres/postmaster.ts'
import { establishRoles } from '../../src/postgres/roles.ts'
import { connectionTo } from '../../src/postgres/server.ts'
import { serverArguments } from '../../src/postgres/settings.ts'
import { prepareSocketFolder } from '../../src/postgres/socket.ts'
import { makeReapedFolder } from './reaper.ts'
import { execute, MIGRATED, silentLog, tell } from './run-postgres.ts'

const { ensureBuilt } = createRequire(import.meta.url)('../../scripts/compile.cjs') as {
  ensureBuilt(root: string): Promise<void>
}

declare module 'vitest' {
  interface ProvidedContext {
    /** Holds the folders of all test files of this run, and its PostgreSQL. */
    runFolder: string
  }
}

/**
 * Begins a run of the tests: its folder, and one PostgreSQL for all files, which starts while the first of them are
 * loaded. Returns how to end it.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  // What tests start as a user does is compiled; of other sources than theirs it would be another program.
  await ensureBuilt(join(import.meta.dirname, '../..'))
  const folder = makeReapedFolder()
  project.provide('runFolder', folder.path)
  const starting = startPostgres(folder.path).catch(async (error: unknown) => {
    await tell(folder.path, { error: String(error) })
    return undefined
  })
  return async () => {
    const postmaster = await starting
    await postmaster?.shutDown()
    await folder.reap()
  }
}

/**
 * As the server starts its own one, but for many at a time, and without flushing: nothing of it shall outlive the run.
 */
async function startPostgres(runFolder: string): Promise<Postmaster> {
  const cluster = join(runFolder, 'postgres')
  const account = await chooseAccount(runFolder, cluster)
  const launcher = await prepareLauncher(runFolder, account)
  const binaries = await findBinaries(runFolder, account)
  await initializeCluster(cluster, binaries, launcher, silentLog)
  await establishRoles(cluster, binaries, launcher, silentLog)
  // Files of tests make databases of their own; what is in them belongs to the role that the program works as.
  await writeFile(join(cluster, 'pg_hba.conf'), 'local all all trust\n')
  const connection = connectionTo(cluster)
  const settings = {
    max_connections: 200,
    fsync: 'off',
    full_page_writes: 'off',
    checkpoint_timeout: '1h',
    max_wal_size: '2GB',
  }
  const args = Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])
  const socketFolder = await prepareSocketFolder(cluster, account)
  const all = [...serverArguments(nameWithin(cluster), socketFolder, 'iclood-tests'), ...args]
  const postmaster = await awaitPostmaster(
    launcher.launch(binaries.postgres, all, { folder: cluster, deathSignal: 'INT' }),
    silentLog,
  )

  const owner = { ...connection, user: 'iclood' }
  await execute(owner, `alter role ${connection.user} createdb`)
  await execute(owner, `create database ${MIGRATED} owner ${connection.user}`)
  const db = openDatabase({ ...connection, database: MIGRATED }, () => {})
  await migrate(db)
  await db.destroy()
  await tell(runFolder, { connection })
  return postmaster
}
