import { sql } from 'kysely'
import pg from 'pg'
import type { ConnectionSettings, Database } from './connection.ts'

/** The database can't serve as a catalogue, whatever is waited for. The message is for people. */
export class UnfitDatabase extends Error {}

/**
 * Makes sure that the database holds every name that a phone may send: in any other encoding than UTF-8 an emoji is an
 * error, or is stored as something else. Throws `UnfitDatabase`, which says how to make one that does;
 * `database_unavailable`.
 */
export async function expectUtf8(db: Database, settings: ConnectionSettings): Promise<void> {
  const { rows } = await sql<{ name: string; encoding: string }>`
    select current_database() as name, current_setting('server_encoding') as encoding
  `.execute(db)
  const found = rows[0]
  if (found === undefined || found.encoding === 'UTF8') return
  const { name, encoding } = found
  const where = placeOf(settings)
  const other = word(`${name}_utf8`)
  throw new UnfitDatabase(
    `The database ${name} has the encoding ${encoding}; expected UTF8, since the names of photos hold every kind of character. Nothing was changed in it. Make another one:\n` +
      `  createdb ${where} --encoding=UTF8 --template=template0 --locale=C ${other}\n` +
      'Take along what is in this one, if it was in use:\n' +
      `  pg_dump ${where} ${word(name)} | psql ${where} --set=ON_ERROR_STOP=1 --quiet ${other}\n` +
      `Then name it in DATABASE_URL, instead of ${name}, and start again.`,
  )
}

/** Where the database is, as the commands of PostgreSQL are told. */
function placeOf(settings: ConnectionSettings): string {
  const { host, port, user } = new pg.Client(settings)
  const options = [`--host=${word(host)}`, `--port=${port}`]
  return (user === undefined ? options : [...options, `--username=${word(user)}`]).join(' ')
}

/** As one word of a shell's command. */
function word(text: string): string {
  return /^[\w./:@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}
