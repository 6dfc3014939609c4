import type { Library } from '../archive/library.ts'
import type { Source } from '../archive/source.ts'
import { findCopiesOf } from '../catalogue/copies.ts'
import { AppError } from '../errors.ts'
import type { Drive } from '../storage/drive.ts'

/**
 * Finds copies of lost originals on the mirror. `open` returns its drive, or throws `mirror_missing` or `drive_error`:
 * then there are none just now.
 */
export function mirrorSource({ db }: Library, open: () => Promise<Drive>): Source {
  return async ({ path, checksum }) => {
    const paths = await findCopiesOf(db, checksum)
    if (paths.length === 0) return []
    const drive = await open().catch((error: unknown) => {
      if (error instanceof AppError && error.code !== 'database_unavailable') return undefined
      throw error
    })
    if (drive === undefined) return []
    // Its own first, of several with the same content.
    const ordered = paths.toSorted((a, b) => Number(b === path) - Number(a === path))
    return ordered.map((copy) => ({ drive, path: copy, name: 'the second copy' }))
  }
}
