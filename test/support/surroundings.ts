import { fileURLToPath } from 'node:url'
import { createDatabase, type TestDatabase } from './postgres.ts'
import { MIGRATED } from './run-postgres.ts'

/** The program as npm installs it. */
export const PROGRAM = fileURLToPath(new URL('../../bin/iclood.cjs', import.meta.url))

/**
 * Among the settings of a server or a command: it runs the PostgreSQL that it brings, as it does at a person's home.
 */
export const EMBEDDED = { DATABASE_URL: '' }

type Settings = Readonly<Record<string, string>>

/** The databases of servers that were told of none, by their `DATA_DIR` or their folder. */
const databases = new Map<string, TestDatabase>()

const homeOf = (folder: string, env: Settings) => env['DATA_DIR'] ?? folder

/** Makes a database for a server that starts in `folder` with `env`, unless it has one or shall run its own. */
export async function prepareDatabase(folder: string, env: Settings): Promise<void> {
  const home = homeOf(folder, env)
  if (env['DATABASE_URL'] === undefined && !databases.has(home)) databases.set(home, await createDatabase(MIGRATED))
}

/** Removes the databases of servers whose home was `folder` or in it. */
export async function removeDatabases(folder: string): Promise<void> {
  for (const [home, database] of databases) {
    if (home !== folder && !home.startsWith(`${folder}/`)) continue
    databases.delete(home)
    await database.drop()
  }
}

/**
 * The environment of a server or command in `folder`: `env`, the database that was prepared there, and no other
 * settings.
 */
export function surroundings(folder: string, env: Settings): NodeJS.ProcessEnv {
  const { DATABASE_URL = databases.get(homeOf(folder, env))?.url, ...others } = env
  return {
    PATH: process.env['PATH'],
    HOME: process.env['HOME'],
    TMPDIR: process.env['TMPDIR'],
    MIN_FREE_SPACE: '1',
    TZ: 'Europe/Berlin',
    ...(DATABASE_URL !== undefined && DATABASE_URL !== '' && { DATABASE_URL }),
    ...others,
  }
}
