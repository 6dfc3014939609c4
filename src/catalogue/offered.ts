import { sql } from 'kysely'
import type { Checksum } from '../media/checksum.ts'
import type { MediaKind } from '../media/media-type.ts'
import { numberColumn, textColumn } from './columns.ts'

/** A file in a phone's list. Times are ms since 1970; what the phone does not know is null. */
export interface OfferedFile {
  path: string
  id: string | null
  name: string
  kind: MediaKind
  size: number | null
  created: number | null
  modified: number | null
  checksum: Checksum | null
}

/**
 * PostgreSQL expects 10 rows of arrays that it does not know, and then would rather compare each row of a table with
 * each of the list than use an index. It expects half of these, which never come, as well.
 */
const EXPECTED = 200

/** A list, and who has sent it. */
export interface Offer {
  deviceId: string
  /** Where it came from; null: whose files they are does not hang on that. */
  address: string | null
  files: readonly OfferedFile[]
}

/**
 * A list as the rows of `offered` that same-asset.ts speaks of, with their indexes: a `select`. Columns that only some
 * statements ask for are there when they are wanted: with `names` name and kind, with `places` the path in the library
 * of each file, with `exports` the key of those.
 */
export function offeredAssets(
  { deviceId, address, files }: Offer,
  { names = false, places, exports = false }: { names?: boolean; places?: readonly string[]; exports?: boolean } = {},
) {
  const hasChecksums = files.some((file) => file.checksum !== null)
  const columns = [
    texts('path', files, (file) => file.path),
    texts('id', files, (file) => file.id),
    numbers('size', files, (file) => file.size),
    numbers('created', files, (file) => file.created),
    numbers('modified', files, (file) => file.modified),
    ...(names ? [texts('name', files, (file) => file.name), texts('kind', files, (file) => file.kind)] : []),
    ...(hasChecksums ? [texts('checksum_hex', files, (file) => file.checksum)] : []),
    ...(places === undefined ? [] : [texts('library_path', places, (place) => place)]),
  ]
  return sql`
    select
      position::integer - 1 as index, listed.*, iclood_asset_key(${deviceId}, path) as key,
      ${address}::text as address, null::float8 as taken,
      ${exports ? sql`iclood_export_key(${deviceId}, id, path) as export_key,` : sql``}
      ${hasChecksums ? sql`decode(checksum_hex, 'hex')` : sql`null::bytea`} as checksum
    from (
      select * from unnest(${sql.join(columns.map(({ array }) => array))}) with ordinality
      union all
      select ${sql.join(columns.map(() => sql`null`))}, null
      from generate_series(1, ${sql.lit(EXPECTED)}) where ${false}::boolean
    ) as listed (${sql.join(columns.map(({ name }) => sql.id(name)))}, position)`
}

function texts<Item>(name: string, items: readonly Item[], of: (item: Item) => string | null) {
  return { name, array: sql`${textColumn(items, of)}::text[]` }
}

function numbers<Item>(name: string, items: readonly Item[], of: (item: Item) => number | null) {
  return { name, array: sql`${numberColumn(items, of)}::float8[]` }
}
