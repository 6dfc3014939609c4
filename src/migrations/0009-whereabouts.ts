import { type Kysely, sql } from 'kysely'

/**
 * Where the library lay when it was last there, so that a person who has set another folder can be told where the
 * photos are.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table library add column folder text, add column mount_point text`.execute(db)
}
