import { findCatalogued } from '../catalogue/files.ts'
import type { KnownAsset } from '../catalogue/look-up.ts'
import { AppError } from '../errors.ts'
import type { MediaKind } from '../media/media-type.ts'
import { type LibraryPath, type MonthFolder, parseLibraryPath, pathIn, splitPath } from '../storage/layout.ts'
import { splitName } from '../storage/names.ts'
import { checksumOf, flushOriginal, sizeOf } from '../storage/originals.ts'
import type { Staged } from '../storage/staging.ts'
import { type Capture, folderAt } from './capture.ts'
import type { Library } from './library.ts'

/** Where an original should lie. */
export interface Wish {
  folder: MonthFolder
  /** A safe name. */
  name: string
  /** Names to be preferred to it if they are free: those of the other half of its Live Photo. */
  preferred: readonly string[]
  /** Another half is still to come, so the base name must be free of other files altogether. */
  wholeStem: boolean
}

const MONTH_FOLDER = /^\d{4}\/\d{2}$/

/**
 * Finds the place of an original: the month of its capture under its own name, unless it is half of a Live Photo whose other half
 * (`otherHalves`, announced or stored) says otherwise. The halves share a base name and lie in the still's month, as far as
 * that can be had without renaming what is stored.
 */
export function wishFor(
  name: string,
  kind: MediaKind,
  assetId: string | null,
  capture: Capture,
  otherHalves: readonly KnownAsset[],
  timeZone: string,
): Wish {
  const { extension } = splitName(name)
  const distance = (half: KnownAsset) =>
    half.capturedAt === null || capture.at === null
      ? Number.POSITIVE_INFINITY
      : Math.abs(half.capturedAt - capture.at.getTime())
  const stored = otherHalves
    .filter((half) => half.status === 'Completed' && half.filePath !== null)
    .toSorted(
      (a, b) =>
        Number(b.assetId === assetId) - Number(a.assetId === assetId) ||
        (distance(a) < distance(b) ? -1 : 1) ||
        b.id - a.id,
    )
  const places = stored.map((half) => splitPath(parseLibraryPath(half.filePath ?? '')))
  const preferred = places.map((place) => splitName(place.name).stem + extension)
  const isAwaited = otherHalves.some((half) => half.status !== 'Completed')
  if (kind === 'photo') return { folder: capture.folder, name, preferred, wholeStem: isAwaited }

  // A video goes where its still lies, or where a still that is still to come will lie.
  const still = places.find((place) => MONTH_FOLDER.test(place.folder))
  if (still !== undefined) return { folder: still.folder as MonthFolder, name, preferred, wholeStem: false }
  const announced = otherHalves.find((half) => half.status !== 'Completed' && half.created !== null)
  const folder =
    announced?.created == null ? capture.folder : folderAt(new Date(announced.created), capture.offset, timeZone)
  return { folder, name, preferred, wholeStem: isAwaited }
}

/**
 * Gives a staged original its permanent place and returns its path, durable. If the place is taken by a file of the very same
 * bytes that the catalogue does not know (this server was killed before it could record it), that file is adopted.
 */
export async function commitOriginal(library: Library, staged: Staged, wish: Wish): Promise<LibraryPath> {
  const { committer, names, locks } = library
  await committer.makeFolder(wish.folder)
  const path = await locks.folder.run(wish.folder, async () => {
    for (;;) {
      const { name, passed } = await freeName(library, wish)
      const adopted = await findUnrecorded(library, staged, wish.folder, passed)
      if (adopted !== undefined) return adopted
      const path = pathIn(wish.folder, name)
      try {
        await committer.takeName(staged.path, path)
        names.noteTaken(wish.folder, name)
        return path
      } catch (error) {
        if (!(error instanceof AppError && error.code === 'name_taken')) throw error
        // Somebody else took it just now; the next look at the folder sees it.
        names.forget()
      }
    }
  })
  await committer.settle(path)
  return path
}

async function freeName(library: Library, wish: Wish): Promise<{ name: string; passed: readonly string[] }> {
  for (const name of wish.preferred) {
    if (await library.names.isFree(wish.folder, name)) return { name, passed: [] }
  }
  const { name, passed } = await library.names.firstFree(wish.folder, wish.name, wish.wholeStem)
  return { name, passed: [...wish.preferred, ...passed] }
}

/** The path of a file under one of `names` with the same bytes as `staged` that the catalogue does not have; made durable. */
async function findUnrecorded(
  library: Library,
  staged: Staged,
  folder: MonthFolder,
  names: readonly string[],
): Promise<LibraryPath | undefined> {
  if (names.length === 0) return undefined
  const paths = names.map((name) => pathIn(folder, name))
  const catalogued = await findCatalogued(library.db, paths)
  for (const path of paths) {
    if (catalogued.has(path) || (await sizeOf(library.drive, path)) !== staged.size) continue
    const { checksum } = await checksumOf(library.drive, path)
    if (checksum !== staged.checksum) continue
    await flushOriginal(library.drive, path)
    return path
  }
  return undefined
}

/**
 * Puts a staged original back under the path where the catalogue has it and the drive has nothing any more. Returns `false`, with
 * nothing done, if something else lies there now.
 */
export async function restoreOriginal(library: Library, staged: Staged, path: LibraryPath): Promise<boolean> {
  const { folder } = splitPath(path)
  if (!MONTH_FOLDER.test(folder)) return false
  await library.committer.makeFolder(folder as MonthFolder)
  try {
    await library.committer.takeName(staged.path, path)
  } catch (error) {
    if (error instanceof AppError && error.code === 'name_taken') return false
    throw error
  }
  await library.committer.settle(path)
  return true
}
