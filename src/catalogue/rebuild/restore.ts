/*
 * catalogue/rebuild/: A catalogue filled from a journal: loaded into temporary tables, merged in one transaction.
 */

import { sql } from 'kysely'
import type { JournalRecord } from '../../format/journal-record.ts'
import { lock } from '../advisory-locks.ts'
import type { Database } from '../connection.ts'
import { recordLookedUntil, rememberLibrary } from '../library.ts'
import { tellAsSnapshot } from '../outbox.ts'
import { createSaid, loadSaid } from './load.ts'
import { mergeSaid, type Restored } from './merge.ts'

/**
 * Brings back what `records` say and the catalogue does not have, and makes the catalogue that of the library `id`: all
 * of it or, if anything fails, nothing. Bounded in memory, whatever the number of records.
 */
export async function restoreCatalogue(
  db: Database,
  id: string,
  records: AsyncIterable<JournalRecord>,
): Promise<Restored> {
  return db.transaction().execute(async (transaction) => {
    await lock(transaction, 'rebuilding')
    // Large sets, once each; the settings for small questions asked again and again do not fit.
    await sql`set local enable_seqscan = on`.execute(transaction)
    await sql`set local plan_cache_mode = auto`.execute(transaction)
    await sql`set local work_mem = '32MB'`.execute(transaction)
    await tellAsSnapshot(transaction)
    const isEmpty = !(await hasRows(transaction))
    await createSaid(transaction)
    await loadSaid(transaction, records)
    const restored = await mergeSaid(transaction, isEmpty)
    await rememberLibrary(transaction, id)
    // Of originals that nobody had read, the journal says what an older server has said.
    if (restored.originals > 0) await recordLookedUntil(transaction, '')
    return restored
  })
}

/** Whether the catalogue has anything that a person or a phone has told it. What was only announced does not count. */
export async function hasRows(db: Database): Promise<boolean> {
  const { rows } = await sql<{ found: boolean }>`select ${HAS_ROWS} as found`.execute(db)
  return rows[0]?.found ?? false
}

/** The same, as a condition. */
export const HAS_ROWS = sql<boolean>`(
  exists (select from backups where status <> 'Pending') or exists (select from files)
  or exists (select from ignored_files))`
