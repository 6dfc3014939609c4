import { sql } from 'kysely'
import type { Database } from '../connection.ts'
import { tellAsSnapshot } from '../outbox.ts'
import { HAS_ROWS } from './restore.ts'

/**
 * Makes the catalogue of the library `from` that of its mirror `to`: what was read back there counts, and what was read
 * back from the first drive does not any more. Does nothing if the catalogue is not that of `from`.
 */
export async function moveToMirror(db: Database, from: string, to: string): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    const { numAffectedRows } = await sql`
      update library set id = ${to}, mirror_id = null, stopped_cleanly = false, walked_at = null, folder = null, mount_point = null
      where id = ${from}
    `.execute(transaction)
    if (numAffectedRows === 0n) return
    await tellAsSnapshot(transaction)
    await sql`
      update files set verified_at = (
        select nullif(copies.verified_at, '-infinity') from copies where copies.path = files.path
      )
    `.execute(transaction)
    await sql`delete from copies`.execute(transaction)
    await sql`
      update findings set is_told = true, healed_at = now(), healed_by = 'the second copy taking the place of the first'
      where copy = 'mirror' and healed_at is null
    `.execute(transaction)
  })
}

/**
 * Makes the catalogue nobody's again, if it is that of the library `id` and was never told of a photo. Returns whether
 * it is nobody's. What phones have announced goes as well: they announce it again.
 */
export async function leaveLibrary(db: Database, id: string): Promise<boolean> {
  return db.transaction().execute(async (transaction) => {
    await transaction.deleteFrom('library').where('id', '=', id).where(sql<boolean>`not ${HAS_ROWS}`).execute()
    if ((await transaction.selectFrom('library').select('id').executeTakeFirst()) !== undefined) return false
    await transaction.deleteFrom('backups').where('status', '=', 'Pending').execute()
    // What was found in its folder, and was to be written there.
    await sql`delete from findings`.execute(transaction)
    await sql`delete from outbox`.execute(transaction)
    return true
  })
}
