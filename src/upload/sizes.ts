import { ifReadable } from '../base/if-readable.ts'
import type { LibraryPath } from '../format/layout.ts'
import type { Drive } from '../storage/drive.ts'
import { sizeOf } from '../storage/originals.ts'

/** Bytes of what lies at each path; `undefined` where there is no regular file, or the drive can't say. */
export type Sizes = ReadonlyMap<LibraryPath, number | undefined>

/** Files looked at at once. */
const PORTION = 100

/** Looks at files without opening them. Throws `drive_missing`. */
export async function sizesOf(drive: Drive, paths: readonly LibraryPath[]): Promise<Sizes> {
  const sizes = new Map<LibraryPath, number | undefined>()
  for (let start = 0; start < paths.length; start += PORTION) {
    const portion = paths.slice(start, start + PORTION)
    const found = await Promise.all(portion.map((path) => ifReadable(sizeOf(drive, path))))
    for (const [index, path] of portion.entries()) sizes.set(path, found[index])
  }
  return sizes
}
