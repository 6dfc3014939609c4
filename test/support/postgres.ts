import { inject } from 'vitest'
import { hasErrno } from '../../src/errors.ts'
import type { EmbeddedServer } from '../../src/postgres/server.ts'
import { endsWithTest } from './ends.ts'
import { execute, MIGRATED, type RunPostgres, readAnswer } from './run-postgres.ts'
import { until } from './until.ts'

export interface TestDatabase {
  /** For `pg`. */
  readonly connection: EmbeddedServer['connection']
  /** The same as a DATABASE_URL. */
  readonly url: string
  /** Removes the database, whoever is still connected to it. Idempotent. */
  drop(): Promise<void>
}

export { silentLog } from './run-postgres.ts'

let databases = 0

/**
 * Makes a new database that ends with the test, or the file, that calls this: with the tables of today and nothing in
 * them. On the one real PostgreSQL of the run, beside those of other files, which share its roles and its 200
 * connections.
 */
export async function startTestDatabase(): Promise<TestDatabase> {
  return endingWithTest(await createDatabase(MIGRATED))
}

/** The same, without any tables. */
export async function startEmptyDatabase(): Promise<TestDatabase> {
  return endingWithTest(await createDatabase('template1'))
}

function endingWithTest(database: TestDatabase): TestDatabase {
  endsWithTest(database.drop)
  return database
}

/** Makes a new database, a copy of `template`, that lasts as long as the run unless it is dropped. */
export async function createDatabase(template: string): Promise<TestDatabase> {
  const { connection } = await postgres()
  databases += 1
  const name = `test_${process.pid}_${databases}`
  await execute(connection, `create database ${name} template ${template}`)

  let isThere = true
  const { host, port, user } = connection
  return {
    connection: { ...connection, database: name },
    url: `postgresql://${user}@localhost:${port}/${name}?host=${encodeURIComponent(host)}`,
    drop: async () => {
      if (!isThere) return
      isThere = false
      await dropDatabase(connection, name)
    },
  }
}

/** Removes that database, whoever is still connected to it. */
export async function dropDatabase(
  connection: EmbeddedServer['connection'],
  name: string,
  { mayBeMissing = false } = {},
): Promise<void> {
  await until(`${name} is dropped`, async () => {
    try {
      await execute(connection, `drop database ${mayBeMissing ? 'if exists ' : ''}${name} with (force)`)
      return true
    } catch (error) {
      // Nobody but a superuser may end a superuser's process, as one of autovacuum's is: it ends by itself.
      if (hasErrno(error, '42501')) return false
      throw error
    }
  })
}

let answer: Promise<RunPostgres> | undefined

/** Waits until the run's PostgreSQL is there. */
function postgres(): Promise<RunPostgres> {
  answer ??= readAnswer(inject('runFolder'))
  return answer
}
