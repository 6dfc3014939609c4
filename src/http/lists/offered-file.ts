import { ID_LENGTH, NAME_LENGTH, PATH_LENGTH } from '../../base/budgets.ts'
import type { OfferedFile } from '../../catalogue/offered.ts'
import { type Checksum, parseChecksum } from '../../media/checksum.ts'
import { nameOnPhone } from '../../upload/phone-path.ts'
import { readTime } from '../read-time.ts'

/**
 * Reads one entry of a phone's list: what can be understood is, and what can't is as if it were absent. Returns what is
 * wrong, as the end of a sentence, with an entry that has no path, which is what every answer refers to.
 */
export function readOfferedFile(value: unknown): OfferedFile | string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'is no object'
  const entry = value as Readonly<Record<string, unknown>>
  const { path } = entry
  if (path === undefined || path === null || path === '') return 'has no "path"'
  if (typeof path !== 'string') return 'has a "path" that is no text'
  if (path.length > PATH_LENGTH) return `has a "path" of more than ${PATH_LENGTH} characters`
  if (path.includes('\0')) return 'has a "path" with NUL in it'
  return {
    path: path.toWellFormed(),
    id: readId(entry['id']),
    name: (readText(entry['name'], NAME_LENGTH) ?? (nameOnPhone(path) || path)).slice(0, NAME_LENGTH).toWellFormed(),
    kind: entry['type'] === 'video' ? 'video' : 'photo',
    size: readSize(entry['size']),
    created: readTime(entry['created']) ?? null,
    modified: readTime(entry['modified']) ?? null,
    checksum: readChecksum(entry['sha256']),
  }
}

function readText(value: unknown, maxLength: number): string | null {
  return typeof value === 'string' && value !== '' && value.length <= maxLength && !value.includes('\0') ? value : null
}

function readId(value: unknown): string | null {
  // Beyond that JavaScript takes different numbers for one, and different photos would be.
  if (typeof value === 'number') return Math.abs(value) <= Number.MAX_SAFE_INTEGER ? String(value) : null
  return readText(value, ID_LENGTH)?.toWellFormed() ?? null
}

/** Bytes; 0 is what phones say that do not know. */
function readSize(value: unknown): number | null {
  const size = typeof value === 'string' && /^\s*\d+\s*$/.test(value) ? Number(value) : value
  if (typeof size !== 'number' || !(size >= 0 && size <= Number.MAX_SAFE_INTEGER)) return null
  return Math.round(size) || null
}

function readChecksum(value: unknown): Checksum | null {
  return typeof value === 'string' ? (parseChecksum(value) ?? null) : null
}
