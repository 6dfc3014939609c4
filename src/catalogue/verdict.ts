import { sql } from 'kysely'
import type { Checksum } from '../media/checksum.ts'
import { believable } from './believable.ts'
import type { Database } from './connection.ts'
import { type Offer, offeredAssets } from './offered.ts'
import { LIBRARY } from './places.ts'
import {
  hasSameExportKey,
  haveExports,
  isIgnored,
  isProven,
  isSameExport,
  isSameFile,
  mayBeProven,
} from './same-asset.ts'
import type { FindingKind } from './tables.ts'

/** The original that a file of a phone's list is, as the catalogue knows it. */
export interface KnownOriginal {
  path: string
  /** Null until it has been read. */
  checksum: Checksum | null
  size: number | null
  storedAt: Date | null
  verifiedAt: Date | null
  /** Whether the drive does not have it, intact; `finding` says what was found then. */
  isLost: boolean
  finding: FindingKind | null
  /** To be read again because of trouble. */
  recheck: boolean
  /** Copies on other drives. */
  copies: number
}

/** What the catalogue knows of one file of a phone's list. */
export interface Evidence {
  index: number
  /** Null: the library has nothing that is certain to be this file. */
  original: KnownOriginal | null
  /** A row of that device and path could be this file, but nothing that was sent proves it. */
  isUnproven: boolean
  /** An original that may prove to be this file once its bytes have been looked at; null if there is none. */
  open: string | null
  /** Asked for and not received; why it failed, if that is known. */
  isPending: boolean
  failure: string | null
  isIgnored: boolean
}

/**
 * Finds the originals that the files of a phone's list are; one row for each file, in order. As `classify` does, but
 * where that trusts in the absence of doubt, here something that came with the bytes has to prove it: their checksum,
 * the asset id, or their size and date. Of several originals that a file may be, the one in the worst state at `now` is
 * returned. One statement, whose cost grows with the list.
 */
export async function gatherEvidence(db: Database, offer: Offer, now: Date): Promise<Evidence[]> {
  const badness = badnessAt(now)
  const exports = haveExports(offer.files)
  const { rows } = await sql<Omit<Evidence, 'original'> & Nulled<KnownOriginal>>`
    with offered as materialized (
      ${offeredAssets(offer, { exports })}
    ), candidate as (
      select
        offered.index, true as is_content, true as is_proven, false as may_be_proven, false as has_its_id,
        -${badness} as rank, 0 as id, null as status, null as failure,
        ${originalColumns}
      from offered join originals as files on files.checksum = offered.checksum
      union all
      select
        offered.index, false,
        files.path is not null and ${isProven}, files.lost_at is null and ${mayBeProven},
        (backups.asset_id = offered.id) is true,
        ${badness}, backups.id, backups.status, backups.failure,
        ${originalColumns}
      from offered
        join backups on backups.asset_key = offered.key
        left join originals as files on files.path = backups.file_path
      where ${isSameFile}
      ${exports ? exportedWith(badness) : sql``}
    ), best as (
      select distinct on (index)
        candidate.*,
        bool_or(path is not null and not is_proven) over same as is_unproven,
        max(path) filter (where may_be_proven) over same as open,
        bool_or(status = 'Pending') over same as is_pending,
        max(failure) filter (where status = 'Failed' and path is null) over same as last_failure
      from (select *, bool_or(has_its_id) over (partition by index) as is_by_id from candidate) as candidate
      -- Where a row has its id, rows without one are of something else.
      where is_content or has_its_id or not is_by_id
      window same as (partition by index)
      order by index, is_content desc, is_proven desc, rank desc, id desc
    )
    select
      offered.index,
      case when best.is_proven then best.path end as path,
      encode(best.checksum, 'hex') as checksum, best.size, best.stored_at as "storedAt",
      best.verified_at as "verifiedAt",
      best.lost_at is not null as "isLost", best.recheck, finding.kind as finding,
      (
        select count(*) from copies
        where copies.path = best.path and copies.place <> ${LIBRARY} and copies.copied_at is not null
      ) as copies,
      coalesce(best.is_unproven and not best.is_content, false) as "isUnproven",
      case when not best.is_proven then best.open end as open,
      coalesce(best.is_pending and not best.is_content, false) as "isPending",
      case when not best.is_content then best.last_failure end as failure,
      exists (
        select from ignored_files where best.path is null and ${isIgnored(exports)}
      ) as "isIgnored"
    from offered
      left join best on best.index = offered.index
      left join lateral (
        select findings.kind from findings
        where best.lost_at is not null and findings.place = ${LIBRARY} and findings.path = best.path
          and findings.kind in ('missing', 'corrupt', 'unreadable') and findings.healed_at is null
        limit 1
      ) as finding on true
    order by offered.index
  `.execute(db)
  return rows.map(({ index, isUnproven, open, isPending, failure, isIgnored, path, ...original }) => {
    const known = path === null ? null : ({ ...original, path } as KnownOriginal)
    return { index, isUnproven, open, isPending, failure, isIgnored, original: known }
  })
}

/** What a left join gives. */
type Nulled<Row> = { [Column in keyof Row]: Row[Column] | null }

// Parts of the statement above.

const originalColumns = sql`
  files.path, files.checksum, files.size, files.stored_at, files.verified_at, files.lost_at, files.recheck`

/** What was read back at a time that can't be believed was not. */
const badnessAt = (now: Date) => sql`
  case
    when files.lost_at is not null then 3
    when files.checksum is null then 2
    when files.recheck or files.verified_at is null
      or files.verified_at > ${believable(now)} then 1
    else 0
  end`

const exportedWith = (badness: ReturnType<typeof badnessAt>) => sql`
  union all
  select
    offered.index, false, files.path is not null and backups.is_identified, false, true, ${badness}, backups.id, backups.status, backups.failure,
    ${originalColumns}
  from offered
    join backups on ${hasSameExportKey} and backups.asset_key <> offered.key
    left join originals as files on files.path = backups.file_path
  where ${isSameExport}`
