import { findCatalogued } from '../catalogue/files.ts'
import type { KnownAsset } from '../catalogue/look-up.ts'
import { type HeldLoss, holdingLost } from '../catalogue/losses.ts'
import { AppError } from '../errors.ts'
import type { MediaKind } from '../media/media-type.ts'
import {
  isMonthFolder,
  type LibraryPath,
  type MonthFolder,
  parseLibraryPath,
  pathIn,
  splitPath,
} from '../storage/layout.ts'
import { splitName } from '../storage/names.ts'
import { checksumOf, flushOriginal, sizeOf } from '../storage/originals.ts'
import type { Staged } from '../storage/staging.ts'
import { type Capture, folderAt } from './capture.ts'
import { noteIfUnsure } from './changes.ts'
import { ifReadable } from './if-readable.ts'
import type { Library } from './library.ts'
import { recordContent } from './read-original.ts'

/** Where an original should lie. */
export interface Wish {
  folder: MonthFolder
  /** A safe name. */
  name: string
  /** A name to be preferred to it if it is free: that of the other half of its Live Photo. */
  preferred: string | null
  /** Another half is still to come, so the base name must be free of other files altogether. */
  wholeStem: boolean
}

/** Two phones of one model call different photos by one name. A still and a video taken further apart are not halves. */
const APART_MS = 31 * 24 * 60 * 60 * 1000

/**
 * Finds the place of an original: the month of its capture under its own name, unless it is half of a Live Photo whose other half
 * (of `otherHalves`, announced or stored) says otherwise. The halves share a base name and lie in the still's month, as far as
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
  const half = chooseHalf(assetId, capture.at?.getTime() ?? null, otherHalves)
  const alone: Wish = { folder: capture.folder, name, preferred: null, wholeStem: false }
  if (half === undefined) return alone
  if (half.status === 'Completed') {
    const place = splitPath(parseLibraryPath(half.filePath ?? ''))
    const preferred = splitName(place.name).stem + splitName(name).extension
    const isTogether = kind === 'video' && isMonthFolder(place.folder)
    return { ...alone, preferred, ...(isTogether && { folder: place.folder as MonthFolder }) }
  }
  // A video goes where the still that is still to come will lie.
  if (kind === 'photo' || half.created === null) return { ...alone, wholeStem: true }
  return { ...alone, wholeStem: true, folder: folderAt(new Date(half.created), capture.offset, timeZone) }
}

/** The other half of what was taken `at`: of several the one with the same asset id, then the nearest in time. */
function chooseHalf(assetId: string | null, at: number | null, halves: readonly KnownAsset[]): KnownAsset | undefined {
  const isSame = (half: KnownAsset) => assetId !== null && half.assetId === assetId
  const distance = (half: KnownAsset) => {
    const taken = half.capturedAt ?? half.created
    return taken === null || at === null ? undefined : Math.abs(taken - at)
  }
  const stored = halves.filter((half) => half.status === 'Completed' && half.filePath !== null)
  // One that is asked for again, since it has changed, counts as what is stored of it.
  const awaited = halves.filter(
    (half) => half.status !== 'Completed' && !stored.some((known) => known.assetId === half.assetId),
  )
  return [...stored, ...awaited]
    .filter((half) => isSame(half) || (distance(half) ?? 0) <= APART_MS)
    .toSorted(
      (a, b) =>
        Number(isSame(b)) - Number(isSame(a)) ||
        (distance(a) ?? APART_MS) - (distance(b) ?? APART_MS) ||
        stored.indexOf(b) - stored.indexOf(a),
    )[0]
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
      const { name, strangers } = await freeName(library, wish)
      const adopted = await findUnrecorded(library, staged, wish.folder, strangers)
      if (adopted !== undefined) return adopted
      const path = pathIn(wish.folder, name)
      try {
        await committer.takeName(staged.path, path)
        await names.noteTaken(wish.folder, name)
        return path
      } catch (error) {
        if (!(error instanceof AppError && error.code === 'name_taken')) throw error
        // Somebody else took it just now, or the drive knows two names for one that look different to us.
        await names.noteRefused(wish.folder, name)
      }
    }
  })
  await committer.settle(path).catch((error: unknown) => {
    // The name has been given back, or is in doubt: the next look at the folder tells.
    names.forget()
    throw error
  })
  return path
}

/** The name to take, and names passed over that the catalogue does not have. */
async function freeName(library: Library, wish: Wish): Promise<{ name: string; strangers: readonly string[] }> {
  const free = await library.names.firstFree(wish.folder, wish.name, wish.wholeStem)
  if (wish.preferred === null) return free
  const holder = await library.names.holderOf(wish.folder, wish.preferred)
  if (holder === undefined) return { ...free, name: wish.preferred }
  return holder.isStranger ? { ...free, strangers: [holder.name, ...free.strangers] } : free
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
    const read = await ifReadable(checksumOf(library.drive, path))
    if (read?.checksum !== staged.checksum) continue
    // Without that it may be lost, and a second flush would "succeed": our own copy is kept as well.
    const isFlushed = await ifReadable(flushOriginal(library.drive, path).then(() => true))
    if (isFlushed === true) return path
  }
  return undefined
}

/**
 * Puts a staged original, whose bytes are durable, into the place of a lost one with the same content, durably, and declares that one restored; `by`
 * goes on after "healed by". One that was lost before it had been read takes any content. Returns `false`, with nothing done, if something lies there, or if the original is not lost (any more).
 */
export async function putBack(library: Library, staged: Staged, path: LibraryPath, by: string): Promise<boolean> {
  await library.committer.makeFolder(splitPath(path).folder)
  let isUnread = false
  const restore = async (held: HeldLoss) => {
    isUnread = held.checksum === null
    if (held.checksum !== null && held.checksum !== staged.checksum) return undefined
    try {
      await library.committer.takeName(staged.path, path)
    } catch (error) {
      if (error instanceof AppError && error.code === 'name_taken') return undefined
      throw error
    }
    await library.committer.settle(path)
    return held.restored(by, library.now())
  }
  const holding = library.locks.loss.run('', () => holdingLost(library.db, path, restore))
  const backups = await noteIfUnsure(library.changed, holding)
  if (backups === undefined) return false
  if (isUnread) await recordContent(library, path, staged, null)
  library.changed({ originals: [path], backups })
  return true
}
