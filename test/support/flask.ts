import type { Client } from 'pg'

/** What SQLAlchemy made of the old server's models. */
export const FLASK_TABLES = `
  create table backups (
    id serial not null,
    file_name varchar not null,
    file_path varchar not null,
    original_path varchar,
    file_size integer not null,
    file_type varchar not null,
    mime_type varchar,
    device_id varchar,
    timestamp timestamp without time zone,
    status varchar not null,
    primary key (id)
  );
  create index ix_backups_id on backups (id);
  create table ignored_files (
    id serial not null,
    file_name varchar not null,
    device_id varchar,
    original_path varchar not null,
    timestamp timestamp without time zone,
    primary key (id)
  );
  create index ix_ignored_files_id on ignored_files (id);
`

/** A backup as the old server recorded it; what is left out is what it would be for a photo of an iPhone. */
export interface FlaskBackup {
  /** In the library. */
  file: string
  /** On the phone. */
  path: string
  size: number
  device?: string
}

/** Records them in the old server's table, in this order. */
export async function addFlaskBackups(client: Client, backups: readonly FlaskBackup[]): Promise<void> {
  for (const { file, path, size, device = 'iPhone 12' } of backups) {
    await client.query(
      `insert into backups (file_name, file_path, original_path, file_size, file_type, mime_type, device_id, timestamp, status)
       values (regexp_replace($1, '.*/', ''), $1, $2, $3, 'photo', 'image/jpeg', $4, timestamp '2024-02-01 10:00', 'Completed')`,
      [file, path, size, device],
    )
  }
}
