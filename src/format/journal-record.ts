import Type, { type Static, type TSchema } from 'typebox'
import { LARGEST_ORIGINAL } from '../base/budgets.ts'
import { AppError } from '../errors.ts'
import type { Checksum } from '../media/checksum.ts'
import { isMonthFolder, parseLibraryPath, splitPath } from './layout.ts'

/*
 * The journal's lines as schemas: the tables of docs/drive-format.md, member by member, in the order of writing. A
 * `title` is the word for the type there. The bounds are what the catalogue can hold, and everything that works with it
 * afterwards: a line that is whole may still not have been written by this server.
 */

/** What is sent by phones is shorter by far; what an older server has taken may not be. */
const TEXT_LENGTH = 65_536
/** Stand in an index together. */
const DEVICE_LENGTH = 512
const KIND_LENGTH = 100
/** A UUID. */
const CONTENT_ID_LENGTH = 36
/** Keys of an index in PostgreSQL take 2,700 bytes at most; no file system takes longer paths from us. */
const PATH_BYTES = 2_000
/** Leaves room for the ids of as many assets again, all exact as numbers. */
const LARGEST_ID = 1e15
const DAY_MINUTES = 24 * 60

/** As PostgreSQL reads it, and clients; more digits than three were never written. */
const TIME = /^(?!0000)\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,3})?Z$/

const text = (length: number, title = `text (${length})`) =>
  Type.String({ title, holds: (value: string) => value.length <= length && isStorable(value) })
const whole = (title: string, minimum: number, maximum: number) => Type.Integer({ title, minimum, maximum })
function orNull<Schema extends TSchema>(schema: Schema) {
  const title = titleOf(schema)
  return Type.Union([schema, Type.Null()], title === undefined ? {} : { title })
}

const Text = text(TEXT_LENGTH, 'text')
const Time = Type.String({ title: 'time', holds: isTime })
const Sha256 = Type.Unsafe<Checksum>(Type.String({ title: 'checksum', pattern: '^[0-9a-f]{64}$' }))
const Id = whole('id', 1, LARGEST_ID)
const Bytes = whole('bytes', 0, LARGEST_ORIGINAL)
const Milliseconds = Type.Number({ title: 'milliseconds' })
/** Nowhere but in a month folder does an original lie; verification would move aside what lies there. */
const OriginalPath = Type.String({
  title: 'path',
  holds: (path: string) => isMonthFolder(splitPath(path).folder) && isPath(path),
})

const Original = Type.Object({
  path: OriginalPath,
  sha256: orNull(Sha256),
  size: orNull(Bytes),
  media_type: orNull(Text),
  captured_at: orNull(Time),
  captured_offset: orNull(whole('minutes', -DAY_MINUTES, DAY_MINUTES)),
  /** Apple's content identifier; left out where there is none. */
  content_id: Type.Optional(text(CONTENT_ID_LENGTH)),
  stored_at: orNull(Time),
  verified_at: orNull(Time),
})

const OriginalLine = Type.Object({ type: Type.Literal('original'), ...Original.properties })

const BackupLine = Type.Object(
  {
    type: Type.Literal('backup'),
    id: Id,
    device: orNull(text(DEVICE_LENGTH)),
    phone_path: orNull(Text),
    asset_id: orNull(Text),
    name: Text,
    kind: text(KIND_LENGTH),
    status: Type.Enum(['Completed', 'Failed'], { title: 'status' }),
    failure: orNull(Text),
    at: orNull(Time),
    created: orNull(Milliseconds),
    modified: orNull(Milliseconds),
    announced_size: orNull(Bytes),
    announced_from: orNull(Text),
    /** Not in the lines of servers before 0.3. */
    sent_from: Type.Optional(orNull(Text)),
    size: orNull(Bytes),
    media_type: orNull(Text),
    original: orNull(Original),
  },
  { holds: (line: { status?: unknown; original?: unknown }) => line.original !== null || line.status === 'Failed' },
)

const IgnoredLine = Type.Object({
  type: Type.Literal('ignored'),
  id: Id,
  device: orNull(text(DEVICE_LENGTH)),
  phone_path: Text,
  asset_id: orNull(Text),
  name: Text,
  at: orNull(Time),
  /** Not in the lines of servers before 0.3. */
  created: Type.Optional(orNull(Milliseconds)),
  announced_size: Type.Optional(orNull(Bytes)),
  ignored_from: Type.Optional(orNull(Text)),
})

const RemovedLine = Type.Union([
  Type.Object({ type: Type.Literal('removed'), what: Type.Enum(['backup', 'ignored']), id: Id }),
  Type.Object({
    type: Type.Literal('removed'),
    what: Type.Literal('original'),
    path: Type.String({ title: 'path', holds: isPath }),
  }),
])

/** A header may be of a later format; a file whose header is damaged counts as one of this library. */
const HeaderLine = Type.Object({
  type: Type.Literal('header'),
  format: Type.Number({ title: 'number' }),
  library: Type.String({ title: 'text' }),
  kind: Type.Enum(['snapshot', 'log']),
  created: Type.String({
    title: 'time',
    holds: (time: string) => time.endsWith('Z') && !Number.isNaN(Date.parse(time)),
  }),
})

const EndLine = Type.Object({ type: Type.Literal('end'), lines: whole('lines', 0, Number.MAX_SAFE_INTEGER) })

/** Each line of the journal by its `type`. */
export const LINES = {
  header: HeaderLine,
  original: OriginalLine,
  backup: BackupLine,
  ignored: IgnoredLine,
  removed: RemovedLine,
  end: EndLine,
}

export type OriginalFacts = Static<typeof Original>
export type OriginalRecord = Static<typeof OriginalLine>
export type BackupRecord = Static<typeof BackupLine>
export type IgnoredRecord = Static<typeof IgnoredLine>
export type RemovedRecord = Static<typeof RemovedLine>
export type HeaderLine = Static<typeof HeaderLine>
export type EndLine = Static<typeof EndLine>

/** What the journal says of the catalogue. */
export type JournalRecord = OriginalRecord | BackupRecord | IgnoredRecord | RemovedRecord
export type JournalLine = HeaderLine | JournalRecord | EndLine

/** The word for the type of a member; `undefined` for what has a value of its own or members of its own. */
export function titleOf(schema: TSchema): string | undefined {
  return 'title' in schema ? String(schema.title) : undefined
}

/** PostgreSQL's texts hold neither NUL nor half a surrogate pair. */
function isStorable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed()
}

function isPath(path: string): boolean {
  if (!isStorable(path) || Buffer.byteLength(path) > PATH_BYTES) return false
  try {
    parseLibraryPath(path)
    return true
  } catch (error) {
    if (error instanceof AppError) return false
    throw error
  }
}

function isTime(time: string): boolean {
  const date = new Date(time)
  // JavaScript takes the 31st of February for the 2nd of March.
  return TIME.test(time) && !Number.isNaN(date.getTime()) && date.toISOString().slice(0, 19) === time.slice(0, 19)
}
