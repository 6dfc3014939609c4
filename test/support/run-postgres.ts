import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import pg from 'pg'
import type { EmbeddedServer } from '../../src/postgres/server.ts'

/** The PostgreSQL of a run, which its process has started for the files of tests, each in a process of its own. */
export interface RunPostgres {
  connection: EmbeddedServer['connection']
}

/** A database with the tables of today, to be copied. */
export const MIGRATED = 'migrated'

export const silentLog = { debug() {}, info() {}, warn() {}, error() {} }

const fileIn = (runFolder: string) => join(runFolder, 'postgres.json')

/** Tells the files of tests that it is there, or why it can't be. */
export async function tell(runFolder: string, news: RunPostgres | { error: string }): Promise<void> {
  const file = fileIn(runFolder)
  await writeFile(`${file}.new`, JSON.stringify(news))
  await rename(`${file}.new`, file)
}

/** Waits until it is there. Throws what kept it from starting. */
export async function readAnswer(runFolder: string): Promise<RunPostgres> {
  for (;;) {
    const text = await readFile(fileIn(runFolder), 'utf8').catch(() => undefined)
    if (text === undefined) {
      await setTimeout(20)
      continue
    }
    const news = JSON.parse(text) as RunPostgres | { error: string }
    if ('error' in news) throw new Error(`The tests’ PostgreSQL did not start: ${news.error}`)
    return news
  }
}

/** Runs one statement on a connection of its own. */
export async function execute(connection: EmbeddedServer['connection'], statement: string): Promise<void> {
  const client = new pg.Client(connection)
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
