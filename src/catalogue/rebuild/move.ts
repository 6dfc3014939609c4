import { sql } from 'kysely'
import type { Database } from '../connection.ts'
import { findLibraryId } from '../library.ts'
import { tellAsSnapshot } from '../outbox.ts'
import { LIBRARY } from '../places.ts'
import { HAS_ROWS } from './restore.ts'

/**
 * Makes the catalogue of the library `from` that of its mirror `to`: what was read back there counts, and what was read
 * back from the first drive does not any more. Does nothing if the catalogue is not that of `from`.
 */
export async function moveToMirror(db: Database, from: string, to: string): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    const { numAffectedRows } = await sql`
      update places set stopped_cleanly = false, walked_at = null, folder = null, mount_point = null
      where id = ${LIBRARY} and identity = ${from}
    `.execute(transaction)
    if (numAffectedRows === 0n) return
    await tellAsSnapshot(transaction)
    await sql`
      update copies set verified_at = there.verified_at, recheck = coalesce(there.recheck, false)
      from copies as own
        left join (
          select copies.* from copies join places on places.id = copies.place where places.identity = ${to}
        ) as there using (path)
      where copies.place = ${LIBRARY} and own.place = ${LIBRARY} and own.path = copies.path
    `.execute(transaction)
    await sql`
      update findings set is_told = true, healed_at = now(), healed_by = 'the second copy taking the place of the first'
      where place <> ${LIBRARY} and healed_at is null
        and place in (select id from places where identity = ${to})
    `.execute(transaction)
    await sql`delete from copies where place in (select id from places where identity = ${to})`.execute(transaction)
    await sql`delete from places where identity = ${to} and id <> ${LIBRARY}`.execute(transaction)
    await sql`update places set identity = ${to} where id = ${LIBRARY}`.execute(transaction)
  })
}

/**
 * Makes the catalogue nobody's again, if it is that of the library `id` and was never told of a photo. Returns whether
 * it is nobody's. What phones have announced goes as well: they announce it again.
 */
export async function leaveLibrary(db: Database, id: string): Promise<boolean> {
  return db.transaction().execute(async (transaction) => {
    await sql`
      update places set
        identity = null, since = null, folder = null, mount_point = null, walked_at = null, looked_until = '', stopped_cleanly = false
      where id = ${LIBRARY} and identity = ${id} and not ${HAS_ROWS}
    `.execute(transaction)
    if ((await findLibraryId(transaction)) !== undefined) return false
    await sql`delete from places where id <> ${LIBRARY}`.execute(transaction)
    await transaction.deleteFrom('backups').where('status', '=', 'Pending').execute()
    // What was found in its folder, and was to be written there.
    await sql`delete from findings`.execute(transaction)
    await sql`delete from outbox`.execute(transaction)
    return true
  })
}
