import { type Kysely, sql } from 'kysely'

/** Apple's content identifier, which tells the two halves of a Live Photo that came without paths. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table files add column content_id text collate "C"`.execute(db)
  await sql`create index files_content_id on files (content_id) where content_id is not null`.execute(db)
}
