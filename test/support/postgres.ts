import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll } from 'vitest'
import { type EmbeddedServer, startEmbeddedServer } from '../../src/catalogue/embedded/server.ts'

export interface TestDatabase {
  /** For `pg`. */
  readonly connection: EmbeddedServer['connection']
  /** The same as a DATABASE_URL. */
  readonly url: string
  /** Removes the database, whoever is still connected to it. */
  drop(): Promise<void>
}

export const silentLog = { debug() {}, info() {}, warn() {}, error() {} }

interface Cluster {
  readonly folder: string
  readonly server: EmbeddedServer
}

let cluster: Promise<Cluster> | undefined
let databases = 0

// Registered by the test file that imports this one, for its end.
afterAll(async () => {
  if (cluster === undefined) return
  const { folder, server } = await cluster
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})

/**
 * Makes a new, empty database on a real PostgreSQL that the test file's first call starts (about a second, then tens of
 * milliseconds each) and that ends with the file. It takes 20 connections, over all databases.
 */
export async function startTestDatabase(): Promise<TestDatabase> {
  cluster ??= startCluster()
  const { server } = await cluster
  databases += 1
  const name = `test_${databases}`
  await execute(server, `create database ${name}`)

  const { host, port, user } = server.connection
  return {
    connection: { ...server.connection, database: name },
    url: `postgresql://${user}@localhost:${port}/${name}?host=${encodeURIComponent(host)}`,
    drop: () => execute(server, `drop database if exists ${name} with (force)`),
  }
}

async function startCluster(): Promise<Cluster> {
  const folder = await mkdtemp(join(tmpdir(), 'iclood-postgres-'))
  // As root, PostgreSQL runs under another account, which must get in.
  await chmod(folder, 0o755)
  return { folder, server: await startEmbeddedServer({ dataDir: folder, log: silentLog }) }
}

async function execute(server: EmbeddedServer, statement: string): Promise<void> {
  const client = new pg.Client(server.connection)
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
