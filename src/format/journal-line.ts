import { crc32 } from 'node:zlib'
import type { TSchema } from 'typebox'
import { type Checker, checker } from '../base/checker.ts'
import { type JournalLine, LINES } from './journal-record.ts'

const CHECK = ',"crc":'
/** `"12345678"}` */
const CHECK_VALUE_LENGTH = 11

const CHECKERS = new Map<unknown, Checker<TSchema>>(
  Object.entries(LINES).map(([type, schema]) => [type, checker(schema)]),
)

/** Writes a line with its check and its line feed. */
export function formatLine(line: JournalLine): string {
  const text = JSON.stringify(line).slice(0, -1)
  return `${text}${CHECK}"${checkOf(text)}"}\n`
}

/**
 * Reads a line without its line feed. Returns `undefined` if it is torn or damaged, or not as
 * docs/drive-format.md describes its type; `'unknown'` if it is whole and of a type that is not described there.
 */
export function parseLine(bytes: Buffer): JournalLine | 'unknown' | undefined {
  const end = bytes.byteLength - CHECK_VALUE_LENGTH - CHECK.length
  if (end < 0) return undefined
  const expected = `${CHECK}"${checkOf(bytes.subarray(0, end))}"}`
  if (bytes.toString('latin1', end) !== expected) return undefined
  let value: unknown
  try {
    value = JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
  const { type } = (value ?? {}) as { type?: unknown }
  if (typeof type !== 'string') return undefined
  const line = CHECKERS.get(type)
  if (line === undefined) return 'unknown'
  return line.fits(value) ? (value as JournalLine) : undefined
}

function checkOf(text: string | Uint8Array): string {
  return crc32(text).toString(16).padStart(8, '0')
}
