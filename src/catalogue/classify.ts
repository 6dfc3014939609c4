import { sql } from 'kysely'
import { believable } from './believable.ts'
import type { Database } from './connection.ts'
import { type OfferedFile, offeredAssets } from './offered.ts'
import { hasSameExportKey, haveExports, isIgnored, isSameExport, isSameFile, isSurelySameFile } from './same-asset.ts'
import { forgotten } from './unsent.ts'

/** An announcement that is older is made anew, so that its time tells whether the file is still on the phone's list. */
const REPEATED_MS = 7 * 24 * 60 * 60 * 1000

/** What the catalogue says of each file of a list, by its index there. */
export interface Classified {
  ignored: Indexes
  /** Perhaps ignored as well. */
  backedUp: Indexes
  /** In just the same way, and lately. */
  announced: Indexes
  /** Whether the catalogue waits for files that nobody lists any more. */
  hasForgotten: boolean
}

/** More than these are sorted by two processes of the database at once. */
const HALVED = 1_000

/**
 * Sorts a phone's list, sent from `address`, in two statements whose cost grows with it. See "Which asset is it?" in
 * docs/design.md.
 */
export async function classify(
  db: Database,
  deviceId: string,
  address: string,
  files: readonly OfferedFile[],
  now: Date,
): Promise<Classified> {
  const middle = files.length > HALVED ? Math.ceil(files.length / 2) : files.length
  const parts = [files.slice(0, middle), files.slice(middle)].filter((part) => part.length > 0)
  const rows = await Promise.all(parts.map((part) => classifyPart(db, deviceId, address, part, now)))
  const merged = (of: (row: ClassifiedRow) => readonly number[]) => new Indexes(files.length, middle, rows.map(of))
  return {
    ignored: merged((row) => row.ignored),
    backedUp: merged((row) => row.backedUp),
    announced: merged((row) => row.announced),
    hasForgotten: rows.some((row) => row.hasForgotten),
  }
}

interface ClassifiedRow {
  ignored: number[]
  backedUp: number[]
  announced: number[]
  hasForgotten: boolean
}

async function classifyPart(
  db: Database,
  deviceId: string,
  address: string,
  files: readonly OfferedFile[],
  now: Date,
): Promise<ClassifiedRow> {
  const lately = sql`${new Date(now.getTime() - REPEATED_MS).toISOString()}::timestamptz`
  const hasExports = haveExports(files)
  // Lists of indexes come as JSON, which is read the quickest.
  const { rows } = await sql<{
    ignored: number[]
    backedUp: number[] | null
    exported: number[] | null
    announced: number[] | null
    hasForgotten: boolean
  }>`
    with offered as materialized (${offeredAssets({ deviceId, address, files }, { exports: hasExports })})
    select
      known.*,
      ${hasExports ? sql`array_to_json(array(${exportedBefore}))` : sql`null::json`} as exported,
      array_to_json(array(
        select index from offered join ignored_files on ${isIgnored(hasExports)}
      )) as ignored,
      exists (${forgotten(now)}) as "hasForgotten"
    from (
      select
        array_to_json(array_agg(offered.index) filter (
          where backups.status = 'Completed' and (${isSurelySameFile} or (${isSameFileOf}))
        )) as "backedUp",
        array_to_json(array_agg(offered.index) filter (
          where backups.status = 'Pending' and backups.timestamp > ${lately} and backups.timestamp <= ${believable(now)}
            and (
              backups.original_path, backups.asset_id, backups.announced_size, backups.created, backups.modified,
              backups.announced_from
            ) is not distinct from (
              offered.path, offered.id, offered.size, offered.created, offered.modified, ${address}
            )
        )) as announced
      from offered join backups on backups.asset_key = offered.key
    ) as known
  `.execute(db)
  const [row] = rows
  return {
    ignored: row?.ignored ?? [],
    backedUp: [...(row?.backedUp ?? []), ...(row?.exported ?? [])],
    announced: row?.announced ?? [],
    hasForgotten: row?.hasForgotten ?? false,
  }
}

/** Some of the indexes of a list. A `Set` of most of them would take longer to make than the list to sort. */
class Indexes {
  readonly #marks: Uint8Array

  /** `parts` are indexes in parts of the list, each `partLength` long. */
  constructor(length: number, partLength: number, parts: readonly (readonly number[])[]) {
    this.#marks = new Uint8Array(length)
    for (const [part, indexes] of parts.entries()) {
      for (const index of indexes) this.#marks[part * partLength + index] = 1
    }
  }

  has(index: number): boolean {
    return this.#marks[index] === 1
  }
}

const exportedBefore = sql`
  select offered.index
  from offered join backups on ${hasSameExportKey} left join files on files.path = backups.file_path
  where backups.status = 'Completed' and ${isSameExport}`

/**
 * Looked at for those rows alone of which it is not certain without: most of a long list is known by what its own row
 * says.
 */
const isSameFileOf = sql`
  select ${isSameFile} from (select) as once left join files on files.path = backups.file_path`
