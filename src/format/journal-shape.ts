import { parseChecksum } from '../media/checksum.ts'
import type { JournalLine } from './journal-record.ts'

type Check = (value: unknown) => boolean
type Members<Line> = { [Name in Exclude<keyof Line, 'type'>]-?: Check }

const text: Check = (value) => typeof value === 'string'
/** JSON can spell infinity (1e999), and nobody can write it again. */
const number: Check = (value) => Number.isFinite(value)
const count: Check = (value) => Number.isSafeInteger(value) && Number(value) >= 0
const time: Check = (value) => typeof value === 'string' && value.endsWith('Z') && !Number.isNaN(Date.parse(value))
const checksum: Check = (value) => typeof value === 'string' && parseChecksum(value) === value
const oneOf =
  (...values: readonly unknown[]): Check =>
  (value) =>
    values.includes(value)
const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value)
/** Of a member that older servers did not write. */
const ifThere =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value)
const object =
  (members: Readonly<Record<string, Check>>): Check =>
  (value) =>
    isObject(value) &&
    Object.entries(members).every(([name, check]) => check(Object.hasOwn(value, name) ? value[name] : undefined))

type LineOf<Type extends JournalLine['type']> = Extract<JournalLine, { type: Type }>

const ORIGINAL: Members<LineOf<'original'>> = {
  path: text,
  sha256: orNull(checksum),
  size: orNull(count),
  media_type: orNull(text),
  captured_at: orNull(time),
  captured_offset: orNull(number),
  content_id: ifThere(text),
  stored_at: orNull(time),
  verified_at: orNull(time),
}

const BACKUP: Members<LineOf<'backup'>> = {
  id: count,
  device: orNull(text),
  phone_path: orNull(text),
  asset_id: orNull(text),
  name: text,
  kind: text,
  status: oneOf('Completed', 'Failed'),
  failure: orNull(text),
  at: orNull(time),
  created: orNull(number),
  modified: orNull(number),
  announced_size: orNull(count),
  announced_from: orNull(text),
  sent_from: ifThere(orNull(text)),
  size: orNull(count),
  media_type: orNull(text),
  original: orNull(object(ORIGINAL)),
}

const IGNORED: Members<LineOf<'ignored'>> = {
  id: count,
  device: orNull(text),
  phone_path: text,
  asset_id: orNull(text),
  name: text,
  at: orNull(time),
  created: ifThere(orNull(number)),
  announced_size: ifThere(orNull(count)),
  ignored_from: ifThere(orNull(text)),
}

const SHAPES: { readonly [Type in JournalLine['type']]: Check } = {
  header: object({ format: number, library: text, kind: oneOf('snapshot', 'log'), created: time }),
  original: object(ORIGINAL),
  backup: object(BACKUP),
  ignored: object(IGNORED),
  removed: (value) =>
    object({ what: oneOf('backup', 'ignored'), id: count })(value) ||
    object({ what: oneOf('original'), path: text })(value),
  end: object({ lines: count }),
}

/**
 * Returns `value` as the line that docs/drive-format.md describes: `undefined` if it is no object, or one of a type
 * described there whose members are not as they should be; `'unknown'` if it is of another type. A header may be of a
 * later format.
 */
export function asJournalLine(value: unknown): JournalLine | 'unknown' | undefined {
  if (!isObject(value)) return undefined
  const { type } = value
  if (typeof type !== 'string') return undefined
  if (!Object.hasOwn(SHAPES, type)) return 'unknown'
  return SHAPES[type as JournalLine['type']](value) ? (value as unknown as JournalLine) : undefined
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
