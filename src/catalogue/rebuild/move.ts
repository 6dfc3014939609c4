import { sql } from 'kysely'
import type { Database } from '../connection.ts'

/**
 * Makes the catalogue of the library `from` that of its mirror `to`: what was read back there counts, and what was read back from the
 * first drive does not any more. Does nothing if the catalogue is not that of `from`.
 */
export async function moveToMirror(db: Database, from: string, to: string): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    const { numAffectedRows } = await sql`
      update library set id = ${to}, mirror_id = null, journal_complete = false, walked_at = null where id = ${from}
    `.execute(transaction)
    if (numAffectedRows === 0n) return
    await sql`
      update files set verified_at = (
        select nullif(copies.verified_at, '-infinity') from copies where copies.path = files.path
      )
    `.execute(transaction)
    await sql`delete from copies`.execute(transaction)
    await sql`
      update findings set healed_at = now(), healed_by = 'the second copy taking the place of the first'
      where copy = 'mirror' and healed_at is null
    `.execute(transaction)
  })
}
