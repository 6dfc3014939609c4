import { type Kysely, sql } from 'kysely'

/**
 * The tables of the older Flask server, as SQLAlchemy made them. Where they exist nothing happens; a new household gets
 * them empty, so that the next migration finds one schema either way.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table if not exists backups (
      id serial primary key,
      file_name varchar not null,
      file_path varchar not null,
      original_path varchar,
      file_size integer not null,
      file_type varchar not null,
      mime_type varchar,
      device_id varchar,
      timestamp timestamp without time zone,
      status varchar not null
    )`.execute(db)
  await sql`
    create table if not exists ignored_files (
      id serial primary key,
      file_name varchar not null,
      device_id varchar,
      original_path varchar not null,
      timestamp timestamp without time zone
    )`.execute(db)
}
