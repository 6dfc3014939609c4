import { LARGEST_ORIGINAL } from '../base/budgets.ts'
import { AppError } from '../errors.ts'
import type { JournalRecord, OriginalFacts } from './journal-record.ts'
import { isMonthFolder, parseLibraryPath, splitPath } from './layout.ts'

/** Keys of an index in PostgreSQL take 2,700 bytes at most; no file system takes longer paths from us. */
const MAX_PATH_BYTES = 2_000
/** What is sent by phones is shorter by far; what an older server has taken may not be. */
const MAX_TEXT_LENGTH = 65_536
/** Stand in an index together. */
const MAX_DEVICE_LENGTH = 512
const MAX_KIND_LENGTH = 100
/** A UUID. */
const MAX_CONTENT_ID_LENGTH = 36
/** Leaves room for the ids of as many assets again, all exact as numbers. */
const MAX_ID = 1e15
const MAX_OFFSET_MINUTES = 24 * 60

/** As PostgreSQL reads it, and clients; more digits than three were never written. */
const TIME = /^(?!0000)\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,3})?Z$/

/**
 * Whether the catalogue can hold a record that the journal has, and everything that works with it afterwards: the line
 * was whole, but who wrote it may not have been this server.
 */
export function isAcceptable(record: JournalRecord): boolean {
  switch (record.type) {
    case 'original':
      return isOriginal(record)
    case 'backup':
      return (
        isId(record.id) &&
        isText(record.device, MAX_DEVICE_LENGTH) &&
        isText(record.kind, MAX_KIND_LENGTH) &&
        [
          record.phone_path,
          record.asset_id,
          record.name,
          record.failure,
          record.announced_from,
          record.sent_from ?? null,
          record.media_type,
        ].every((text) => isText(text)) &&
        isTime(record.at) &&
        isNumber(record.created) &&
        isNumber(record.modified) &&
        isSize(record.announced_size) &&
        isSize(record.size) &&
        (record.original === null ? record.status === 'Failed' : isOriginal(record.original))
      )
    case 'ignored':
      return (
        isId(record.id) &&
        isText(record.device, MAX_DEVICE_LENGTH) &&
        [record.phone_path, record.asset_id, record.name, record.ignored_from ?? null].every((text) => isText(text)) &&
        isTime(record.at) &&
        isNumber(record.created ?? null) &&
        isSize(record.announced_size ?? null)
      )
    case 'removed':
      return record.what === 'original' ? isPath(record.path) : isId(record.id)
  }
}

function isOriginal(original: OriginalFacts): boolean {
  return (
    // Nowhere else does an original lie; verification would move aside what lies there.
    isMonthFolder(splitPath(original.path).folder) &&
    isPath(original.path) &&
    isSize(original.size) &&
    isText(original.media_type) &&
    isTime(original.captured_at) &&
    isOffset(original.captured_offset) &&
    isText(original.content_id ?? null, MAX_CONTENT_ID_LENGTH) &&
    isTime(original.stored_at) &&
    isTime(original.verified_at)
  )
}

function isPath(path: string): boolean {
  if (!isText(path) || Buffer.byteLength(path) > MAX_PATH_BYTES) return false
  try {
    parseLibraryPath(path)
    return true
  } catch (error) {
    if (error instanceof AppError) return false
    throw error
  }
}

/** PostgreSQL's texts hold neither NUL nor half a surrogate pair. */
function isText(text: string | null, maxLength = MAX_TEXT_LENGTH): boolean {
  return text === null || (text.length <= maxLength && !text.includes('\0') && text.isWellFormed())
}

function isTime(time: string | null): boolean {
  if (time === null) return true
  const date = new Date(time)
  // JavaScript takes the 31st of February for the 2nd of March.
  return TIME.test(time) && !Number.isNaN(date.getTime()) && date.toISOString().slice(0, 19) === time.slice(0, 19)
}

function isId(id: number): boolean {
  return Number.isSafeInteger(id) && id > 0 && id <= MAX_ID
}

function isSize(size: number | null): boolean {
  return size === null || (Number.isSafeInteger(size) && size >= 0 && size <= LARGEST_ORIGINAL)
}

function isOffset(minutes: number | null): boolean {
  return minutes === null || (Number.isInteger(minutes) && Math.abs(minutes) <= MAX_OFFSET_MINUTES)
}

/** JSON can spell infinity (1e999). */
function isNumber(number: number | null): boolean {
  return number === null || Number.isFinite(number)
}
