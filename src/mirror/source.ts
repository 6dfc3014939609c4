import type { Library } from '../archive/library.ts'
import type { Source } from '../archive/source.ts'
import { findCopiesOf } from '../catalogue/copies.ts'
import { AppError } from '../errors.ts'
import type { Mirror } from './mirror.ts'

/**
 * Finds copies of lost originals on a mirror. `open` returns it, or throws `mirror_missing` or `drive_error`: then
 * there are none just now.
 */
export function mirrorSource({ db }: Library, open: () => Promise<Pick<Mirror, 'place' | 'drive'>>): Source {
  return async ({ path, checksum }) => {
    const copies = await findCopiesOf(db, checksum)
    if (copies.length === 0) return []
    const mirror = await open().catch((error: unknown) => {
      if (error instanceof AppError && error.code !== 'database_unavailable') return undefined
      throw error
    })
    const there = copies.filter(({ place }) => place === mirror?.place).map((copy) => copy.path)
    if (mirror === undefined) return []
    // Its own first, of several with the same content.
    const ordered = there.toSorted((a, b) => Number(b === path) - Number(a === path))
    return ordered.map((copy) => ({ drive: mirror.drive, path: copy, name: 'the second copy' }))
  }
}
