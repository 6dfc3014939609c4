import { type CopyWanted, copiesIn, recordCopies } from '../catalogue/copies.ts'
import { healFindings } from '../catalogue/findings.ts'
import { isMonthFolder, type LibraryPath, type MonthFolder, splitPath } from '../format/layout.ts'
import { sizeOf } from '../storage/originals.ts'
import { quarantine } from '../storage/quarantine.ts'
import type { Mirror } from './mirror.ts'

/** What can be wrong with a copy. */
export const COPY_LOSSES = ['missing', 'corrupt', 'unreadable'] as const
/** Goes on after "healed by". */
export const FROM_LIBRARY = 'a new copy from the library'

/**
 * Makes copies known that lie on the mirror, durable and compared: first in the SHA256SUMS of their folders there, then
 * in the catalogue, so that after a kill in between they are found to be there and noted again.
 */
export async function noteCopies(mirror: Mirror, copies: readonly CopyWanted[]): Promise<void> {
  if (copies.length > 0) await mirror.turn.run('', () => note(mirror, copies))
}

async function note(mirror: Mirror, copies: readonly CopyWanted[]): Promise<void> {
  const folders = new Set(copies.map(({ path }) => splitPath(path).folder))
  for (const folder of [...folders].filter(isMonthFolder)) {
    const added = copies.filter(({ path }) => splitPath(path).folder === folder)
    const sums = new Map(added.map(({ path, checksum }) => [splitPath(path).name, checksum]))
    if (!(await mirror.sums.add(folder, sums))) {
      await mirror.sums.repair(folder, new Map([...(await knownIn(mirror, folder)), ...sums]))
    }
  }
  const { library, place } = mirror
  await recordCopies(library.db, place, copies, library.now())
  const paths = copies.map(({ path }) => path)
  await healFindings(library.db, place, COPY_LOSSES, paths, FROM_LIBRARY, library.now())
}

/**
 * Takes away a copy whose original has left its path in the library, because its content lies elsewhere now: to the
 * mirror's quarantine, in case somebody misses it. Does nothing if no file lies there.
 */
export async function retireCopy(mirror: Mirror, path: LibraryPath): Promise<void> {
  await mirror.drive.check()
  await mirror.turn.run('', () => retire(mirror, path))
}

async function retire(mirror: Mirror, path: LibraryPath): Promise<void> {
  if ((await sizeOf(mirror.drive, path)) === undefined) return
  await quarantine(mirror.drive, path, mirror.library.now())
  const { folder } = splitPath(path)
  if (isMonthFolder(folder)) await mirror.sums.repair(folder, new Map(await knownIn(mirror, folder)))
}

async function knownIn({ library, place }: Mirror, folder: MonthFolder) {
  return (await copiesIn(library.db, place, folder)).map(({ name, checksum }) => [name, checksum] as const)
}
