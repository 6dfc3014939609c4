import { sql } from 'kysely'

/*
 * Which asset is it? The one rule, for lists, verdicts, uploads and what is ignored: "Which asset is it?" in
 * docs/design.md says it in words. It is made of parts of SQL statements, all conditions that are never null. In these
 * statements
 *
 *   `offered`        is what a phone lists or sends: id, created, size, modified, and checksum; null is what it does not
 *                    say,
 *   `backups`        is a row of that table which shares its path or its export,
 *   `files`          is the original that this row refers to, from a left join,
 *   `ignored_files`  is any row of that table.
 */

const DAY_MS = 24 * 60 * 60 * 1000

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
 * Two ids decide. Where one of them is not known the date does. Where no date is known either, nothing tells against
 * it; but what was created a day after the row was written is something else, since names come round again.
 */
export const isSameAsset = sql`case
  when offered.id is not null and backups.asset_id is not null then offered.id = backups.asset_id
  when offered.created is null then true
  when backups.created is not null or files.captured_at is not null then ${isCreatedThatDay}
  else coalesce(offered.created - ${ms('backups.timestamp')} <= ${sql.lit(DAY_MS)}, true)
end`

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

/** Where the row alone says that `isSameFile` holds, whatever `files` says. */
export const isSurelySameFile = sql`(
  offered.checksum is null
  and coalesce(offered.id = backups.asset_id, offered.created is null or ${isWithinADay(sql`backups.created`)})
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
 * its path is known, what was created after it was ignored is something else.
 */
const isIgnoredAsset = sql`case
  when offered.id is not null and ignored_files.asset_id is not null then offered.id = ignored_files.asset_id
  else coalesce(offered.size = ignored_files.announced_size, true) and case
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
    iclood_export_key(backups.device_id, backups.asset_id, backups.original_path) as export_key`

/**
 * Whether the asset of a row of `backups` is ignored. Two questions, each with its index: one with `or` would read
 * every ignore for every row.
 */
export const isIgnoredRow = sql`(
  exists (select from ignored_files, lateral (${asOffered}) as offered where ${isIgnoredHere})
  or exists (select from ignored_files, lateral (${asOffered}) as offered where ${isIgnoredAsExport})
)`
