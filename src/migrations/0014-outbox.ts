import { type Kysely, type RawBuilder, sql } from 'kysely'

/**
 * The catalogue tells by itself what has changed: whoever changes a row that the journal on the drive tells of leaves
 * a row in `outbox`, by trigger and in the same transaction, until the journal has it. `stopped_cleanly` is apart from
 * that: whether an upload may have been cut off.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table outbox (
      seq bigint generated always as identity primary key,
      what text not null check (what in ('backup', 'original', 'facts', 'ignored', 'sums', 'copy sums', 'snapshot')),
      key text collate "C" not null
    )`.execute(db)
  await sql`insert into outbox (what, key) select what, key from unwritten`.execute(db)
  await sql`drop table unwritten`.execute(db)
  // What a server that was killed had in mind alone, nobody knows.
  await sql`
    insert into outbox (what, key)
    select 'snapshot', '' from library where not journal_complete
    union all
    select distinct 'sums', left(path, 7) from files
    where path ~ '^[0-9]{4}/[0-9]{2}/' and exists (select from library where not journal_complete)`.execute(db)
  await sql`alter table library rename column journal_complete to stopped_cleanly`.execute(db)
  for (const told of TOLD) await tell(db, told)
}

export interface Told {
  table: string
  what: string
  key: string
  /** The columns that the journal writes. */
  facts: readonly string[]
  /** Which rows it tells of. */
  where: RawBuilder<unknown>
}

export const TOLD: readonly Told[] = [
  {
    table: 'backups',
    what: 'backup',
    key: 'id',
    facts: [
      ...['id', 'device_id', 'original_path', 'asset_id', 'file_name', 'file_type', 'status', 'failure', 'timestamp'],
      ...[
        'created',
        'modified',
        'announced_size',
        'announced_from',
        'sent_from',
        'file_size',
        'mime_type',
        'file_path',
      ],
    ],
    where: sql`status <> 'Pending'`,
  },
  {
    table: 'files',
    what: 'original',
    key: 'path',
    facts: [
      ...['path', 'checksum', 'size', 'media_type', 'captured_at', 'captured_offset', 'content_id', 'stored_at'],
      'verified_at',
    ],
    where: sql`true`,
  },
  {
    table: 'ignored_files',
    what: 'ignored',
    key: 'id',
    facts: [
      ...['id', 'device_id', 'original_path', 'asset_id', 'file_name', 'timestamp', 'created', 'announced_size'],
      'ignored_from',
    ],
    where: sql`true`,
  },
]

/** Only what is another content, or was stored anew, may change what the SHA256SUMS has to say. */
const ORIGINAL_OR_FACTS = sql`
  case when count(*) = 2 and count(distinct (checksum, stored_at)) = 1 then 'facts' else 'original' end`

/** What is filled as a whole (`iclood.outbox` is `snapshot`) is owed a snapshot, and its months' sums. */
export async function tell(db: Kysely<unknown>, { table, what, key, facts, where }: Told): Promise<void> {
  const columns = sql.join(facts.map((fact) => sql.ref(fact)))
  const rowsOf = (rows: RawBuilder<unknown>) => sql`select ${columns} from ${rows} where ${where}`
  const added = rowsOf(sql`new_rows`)
  const removed = rowsOf(sql`old_rows`)
  // What was and is, without what has stayed as it was: in one pass, however many rows there are.
  const replaced = sql`
    select ${columns} from (${removed} union all ${added}) as facts group by ${columns} having count(*) = 1`
  const events = [
    { event: 'insert', rows: sql`referencing new table as new_rows`, changed: added },
    { event: 'update', rows: sql`referencing old table as old_rows new table as new_rows`, changed: replaced },
    { event: 'delete', rows: sql`referencing old table as old_rows`, changed: removed },
  ]
  for (const { event, rows, changed } of events) {
    const name = sql.id(`iclood_tell_${table}_${event}`)
    const months = sql`
      union all
      select distinct 'sums', left(path, 7) from (${changed}) as changed where path ~ '^[0-9]{4}/[0-9]{2}/'`
    const said = table === 'files' && event === 'update' ? ORIGINAL_OR_FACTS : sql.lit(what)
    await sql`
      create function ${name}() returns trigger language plpgsql as $$
      begin
        if current_setting('iclood.outbox', true) = 'snapshot' then
          insert into outbox (what, key)
          select 'snapshot', '' where exists (${changed})
          ${table === 'files' ? months : sql``};
        else
          insert into outbox (what, key)
          select ${said}, ${sql.ref(key)}::text from (${changed}) as changed
          ${event === 'update' ? sql`group by ${sql.ref(key)}` : sql``};
        end if;
        return null;
      end
      $$`.execute(db)
    await sql`
      create trigger ${name} after ${sql.raw(event)} on ${sql.table(table)} ${rows}
      for each statement execute function ${name}()`.execute(db)
  }
}
