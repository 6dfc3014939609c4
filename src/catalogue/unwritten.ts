import { sql } from 'kysely'
import type { Database } from './connection.ts'
import type { UnwrittenTable } from './tables.ts'

/**
 * Rows that have changed: ids in `backups` and `ignored_files`, paths in `files`; and month folders whose SHA256SUMS
 * does not agree with them.
 */
export interface Unwritten {
  backups: readonly number[]
  originals: readonly string[]
  ignored: readonly number[]
  sums: readonly string[]
}

/** Leaves a message for the server, running or not: of this the drive does not know yet. */
export async function leaveUnwritten(db: Database, { backups, originals, ignored, sums }: Unwritten): Promise<void> {
  await sql`
    insert into unwritten (what, key)
    select 'backup', unnest(${backups}::bigint[])::text
    union all select 'ignored', unnest(${ignored}::bigint[])::text
    union all select 'original', unnest(${originals}::text[])
    union all select 'sums', unnest(${sums}::text[])
    on conflict do nothing
  `.execute(db)
}

/** Takes up to `limit` of what was left; `undefined` if nothing was. */
export async function takeUnwritten(db: Database, limit: number): Promise<Unwritten | undefined> {
  const { rows } = await sql<UnwrittenTable>`
    delete from unwritten
    where (what, key) in (select what, key from unwritten order by what, key limit ${limit})
    returning what, key
  `.execute(db)
  if (rows.length === 0) return undefined
  const keysOf = (wanted: UnwrittenTable['what']) => rows.flatMap(({ what, key }) => (what === wanted ? key : []))
  return {
    backups: keysOf('backup').map(Number),
    originals: keysOf('original'),
    ignored: keysOf('ignored').map(Number),
    sums: keysOf('sums'),
  }
}
