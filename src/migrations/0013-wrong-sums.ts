import { type Kysely, sql } from 'kysely'

/** A command that finds a SHA256SUMS wrong leaves word of it, as it does of rows that it has changed. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table unwritten
      drop constraint unwritten_what_check,
      add constraint unwritten_what_check check (what in ('backup', 'original', 'ignored', 'sums'))`.execute(db)
}
