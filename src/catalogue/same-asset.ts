import { sql } from 'kysely'
import { DAY_MS } from '../base/clock.ts'

/*
 * Which asset is it? The one rule, for lists, verdicts, uploads and what is ignored: "Which asset is it?" in
 * docs/design.md says it in words. It is made of parts of SQL statements, all conditions that are never null. In these
 * statements
 *
 *   `offered`        is what a phone lists or sends: id, created, size, modified, and checksum; the address that this
 *                    comes from, and the date that its bytes tell (taken); null is what is not known,
 *   `backups`        is a row of that table which shares its path or its export,
 *   `files`          is the original that this row refers to, from a left join,
 *   `ignored_files`  is any row of that table.
 */

/** `float8`, unlike `extract`, whose exact decimals cost more than all the rest. */
const ms = (timestamp: string) => sql`date_part('epoch', ${sql.raw(timestamp)}) * 1000`

const isWithinADay = (known: ReturnType<typeof ms>) =>
  sql`coalesce(abs(offered.created - ${known}) <= ${sql.lit(DAY_MS)}, false)`

const isWithinADayOrUnknown = (known: ReturnType<typeof ms>) =>
  sql`coalesce(abs(offered.created - ${known}) <= ${sql.lit(DAY_MS)}, true)`

/** Whether `created` is one of the dates that are known. */
export const isCreatedThatDay = sql`(
  ${isWithinADay(sql`backups.created`)} or ${isWithinADay(ms('files.captured_at'))}
)`

/**
 * Whose word a row is: the address that it was announced from or, once its bytes have arrived, that they came from.
 * Null where older servers did not write that down.
 */
const WHOSE = sql`case
  when backups.status = 'Completed' then backups.sent_from else coalesce(backups.announced_from, backups.sent_from)
end`

/** Whether what is offered comes from there. An address that nobody knows is nobody's. */
export const isFromThere = sql`coalesce(offered.address = ${WHOSE}, false)`

/** Whether a row waits for a file that has never arrived, and nobody knows who has announced it. */
export const isNobodys = sql`(
  backups.status <> 'Completed' and backups.file_path is null and backups.announced_from is null
  and backups.sent_from is null
)`

/** Backed up by an older server: its phone, whichever that is, is not to send everything again. */
const isBackedUpByNobody = sql`(backups.status = 'Completed' and backups.sent_from is null)`

/** Whether an original has the size, and was taken on the day, of what is offered. */
const isOfSizeAndDate = (taken: string) => sql`
  coalesce(offered.size = files.size and abs(offered.created - ${ms(taken)}) <= ${sql.lit(DAY_MS)}, false)`

/**
 * Everybody in the house can send anything under any path. So from another address a path says nothing: the size has to
 * be known on both sides, and the date to be that of the bytes themselves. After a rebuild that is the journal's word,
 * until they have been looked at.
 */
const isProvenByBytes = sql`case
  when backups.status = 'Completed' then ${isOfSizeAndDate('coalesce(files.own_date, files.captured_at)')}
  else coalesce(
    offered.size = backups.announced_size and abs(offered.taken - backups.created) <= ${sql.lit(DAY_MS)}, false)
end`

/**
 * Where no date is known either, nothing tells against it; but what was created a day after the row was written is
 * something else, since names come round again.
 */
const isSameByDate = sql`case
  when offered.created is null then true
  when backups.created is not null or files.captured_at is not null then ${isCreatedThatDay}
  else coalesce(offered.created - ${ms('backups.timestamp')} <= ${sql.lit(DAY_MS)}, true)
end`

const haveIds = sql`offered.id is not null and backups.asset_id is not null`

/** Two ids decide. Where one of them is not known the date does, and the address. */
export const isSameAsset = sql`case
  when ${haveIds} then offered.id = backups.asset_id
  when ${isFromThere} or ${isBackedUpByNobody} then ${isSameByDate}
  else ${isProvenByBytes}
end`

/** The same where both have the same content, whoever sends it. */
export const isSameAssetOfContent = sql`case
  when ${haveIds} then offered.id = backups.asset_id else ${isSameByDate}
end`

/**
 * Whether an upload may be what the Flask server has lost before anybody had read it, of which no more than its size is
 * known. It is not thereby the row's asset.
 */
export const mayBeLostUnread = sql`coalesce(
  files.lost_at is not null and files.checksum is null and ${WHOSE} is null and offered.size = files.size, false)`

/**
 * Whether what came with the bytes proves that they are this asset, so that a phone may delete its own copy: the id, or
 * their size and date. What was announced proves nothing, nor does what a journal says; and a path least of all. Ids
 * can be heard in the network: bytes that are not as many as the phone says, now or when it announced them, have none.
 */
export const isProven = sql`(
  coalesce(
    backups.is_identified and backups.asset_id = offered.id
      and coalesce(offered.size = files.size, true) and coalesce(backups.announced_size = files.size, true),
    false
  )
  or ${isOfSizeAndDate('files.own_date')}
)`

/** Whether that may yet turn out, when the bytes are looked at: nobody has looked for their date. */
export const mayBeProven = sql`coalesce(
  offered.size = files.size and offered.created is not null and files.own_date is null, false)`

/**
 * Sizes and times of change, where both are known: an edit is another file. What was announced counts like what has
 * arrived.
 */
const isSameSize = sql`(
  offered.size is null or coalesce(files.size, backups.announced_size) is null
  or coalesce(offered.size = files.size, false) or coalesce(offered.size = backups.announced_size, false)
)`
const isUnmodified = sql`coalesce(offered.modified = backups.modified, true)`

/**
 * Some videos, such as those in slow motion, are exported by the app each time that it lists them: to another path in
 * its own container, encoded anew. These rows have the same key, and `isSameFile` finds nothing in common.
 */
export const hasSameExportKey = sql`
  offered.export_key = iclood_export_key(backups.device_id, backups.asset_id, backups.original_path)`

interface Listed {
  id: string | null
  path: string
}

/** Whether a file of a list may have a key as an export. */
export function mayBeExported({ id, path }: Listed): boolean {
  return path.includes('/Containers/') && (id ?? '').includes('/L0/')
}

/** Whether any of them may: statements look for exports only then. */
export function haveExports(files: readonly Listed[]): boolean {
  return files.some(mayBeExported)
}

const haveChecksums = sql`offered.checksum is not null and files.checksum is not null`

/** Two checksums decide alone. */
export const isSameFile = sql`case
  when ${haveChecksums} then offered.checksum = files.checksum
  else ${isSameAsset} and ${isSameSize} and ${isUnmodified}
end`

/** Where the row, which is completed, says by itself that `isSameFile` holds, whatever `files` says. */
export const isSurelySameFile = sql`(
  offered.checksum is null
  and coalesce(
    offered.id = backups.asset_id,
    coalesce(offered.address = backups.sent_from, true)
      and (offered.created is null or ${isWithinADay(sql`backups.created`)})
  )
  and (offered.size is null or coalesce(offered.size = backups.announced_size, false))
  and ${isUnmodified}
)`

/** The same among rows with the same export key: these have one id, and must have been created at one moment. */
export const isSameExport = sql`case
  when ${haveChecksums} then offered.checksum = files.checksum
  else coalesce(abs(offered.created - backups.created) < 1, false) and ${isUnmodified}
end`

/**
 * Whether what is offered is the asset that a person has ignored, as far as is known which that was. Where nothing but
 * its path is known, what was created after it was ignored is something else. Without its id, nothing is ignored for
 * another address.
 */
const isIgnoredAsset = sql`case
  when offered.id is not null and ignored_files.asset_id is not null then offered.id = ignored_files.asset_id
  else coalesce(offered.address = ignored_files.ignored_from, true)
    and coalesce(offered.size = ignored_files.announced_size, true) and case
    when ignored_files.created is not null then ${isWithinADayOrUnknown(sql`ignored_files.created`)}
    else coalesce(offered.created <= ${ms('ignored_files.timestamp')}, true)
  end
end`

const isIgnoredHere = sql`ignored_files.asset_key = offered.key and ${isIgnoredAsset}`
const isIgnoredAsExport = sql`
  offered.export_key = iclood_export_key(ignored_files.device_id, ignored_files.asset_id, ignored_files.original_path)`

/**
 * Finds the rows of `ignored_files` that `offered` fits; with `exports`, where it has their keys, also those of other
 * exports of it.
 */
export function isIgnored(exports: boolean) {
  return exports ? sql`(${isIgnoredHere} or ${isIgnoredAsExport})` : isIgnoredHere
}

const asOffered = sql`
  select
    backups.asset_key as key, backups.asset_id as id, backups.created, backups.announced_size as size,
    coalesce(backups.sent_from, backups.announced_from, '') as address,
    iclood_export_key(backups.device_id, backups.asset_id, backups.original_path) as export_key`

/**
 * Whether the asset of a row of `backups` is ignored; without an id, never by an address for a row of which nobody
 * knows whose it is. Two questions, each with its index: one with `or` would read every ignore for every row.
 */
export const isIgnoredRow = sql`(
  exists (select from ignored_files, lateral (${asOffered}) as offered where ${isIgnoredHere})
  or exists (select from ignored_files, lateral (${asOffered}) as offered where ${isIgnoredAsExport})
)`
