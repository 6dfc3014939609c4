import { sql } from 'kysely'
import type { Checksum } from '../media/checksum.ts'
import type { Database } from './connection.ts'

/** An original as a folder's SHA256SUMS and listing are compared with it. */
export interface Listed {
  name: string
  /** Null if it has not been read yet. */
  checksum: Checksum | null
  storedAt: Date | null
  isLost: boolean
}

/** Returns the originals that the catalogue has in a month folder such as `2024/07`, in the order of their names. */
export async function listOriginals(db: Database, folder: string): Promise<Listed[]> {
  const { rows } = await sql<Listed>`
    select
      substr(path, ${folder.length + 2}::int) as name, encode(checksum, 'hex') as checksum, stored_at as "storedAt",
      missing_at is not null as "isLost"
    from files
    where path > ${`${folder}/`} and path < ${`${folder}0`}
    order by path
  `.execute(db)
  return rows
}
