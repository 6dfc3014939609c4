import { DAY_MS } from '../base/clock.ts'
import type { Answer, KnownAsset, Role } from '../catalogue/look-up.ts'
import { type Capture, folderAt } from '../format/capture.ts'
import { isMonthFolder, type MonthFolder, parseLibraryPath, splitPath } from '../format/layout.ts'
import { splitName } from '../format/names.ts'

/** Where an original should lie. */
export interface Wish {
  folder: MonthFolder
  /** A safe name. */
  name: string
  /** A name to be preferred to it if it is free: one like that of its relative. */
  preferred: string | null
  /** Another half is still to come, so the base name must be free of other files altogether. */
  wholeStem: boolean
}

/** What has arrived, as far as its place depends on it. What nobody says is null. */
export interface Arrived {
  /** A safe name. */
  name: string
  role: Role
  assetId: string | null
  contentId: string | null
  capture: Capture
}

/** What may belong to it: by its path, and by Apple's content identifier. */
export type Relatives = Pick<Answer, 'relatives' | 'otherHalves'>

/**
 * Two phones of one model call different photos by one name. A still and a video taken further apart are not halves.
 */
const APART_MS = 31 * DAY_MS

/**
 * Finds the place of an original: the month of its capture under its own name, unless it has relatives, announced or
 * stored, that say otherwise. The halves of a Live Photo share a base name and lie in the still's month, edits lie
 * beside what they belong to, as far as that can be had without renaming what is stored.
 */
export function wishFor(arrived: Arrived, relatives: Relatives, timeZone: string): Wish {
  const { name, role, contentId, capture } = arrived
  // Apple gives the identifier only to what has another half.
  const alone: Wish = { folder: capture.folder, name, preferred: null, wholeStem: contentId !== null }
  const relative = chooseRelative(arrived, relatives)
  if (relative === undefined) return alone
  const follows = role !== 'still'
  if (relative.status === 'Completed') {
    const { folder, name: stored } = splitPath(parseLibraryPath(relative.filePath ?? ''))
    return { ...alone, preferred: nameLike(stored, name, role), ...(follows && isMonthFolder(folder) && { folder }) }
  }
  const wholeStem = role !== 'edits'
  // It goes where the still that is still to come will lie.
  if (!follows || relative.created === null) return { ...alone, wholeStem }
  return { ...alone, wholeStem, folder: folderAt(new Date(relative.created), capture.offset, timeZone) }
}

/**
 * The name that goes with that of a stored relative: its base, or of edits that have a base of their own its number.
 */
function nameLike(stored: string, name: string, role: Role): string {
  const own = splitName(name)
  const base = splitName(stored).stem
  if (role !== 'edits' || stemOfEdited(own.stem) === own.stem) return base + own.extension
  return own.stem + (/ \(\d+\)$/.exec(base)?.[0] ?? '') + own.extension
}

/**
 * What the relatives of edits have before their extension. iOS calls the edits that a photo was taken with, such as
 * those of a portrait, `IMG_O0042.AAE` where the photo is `IMG_0042.HEIC`.
 */
export function stemOfEdited(stem: string): string {
  return stem.replace(/(^|\/)IMG_O(\d+)$/, '$1IMG_$2')
}

/**
 * The relative of what has arrived: of several the one with the same content identifier, best one of its own path, then
 * with the same asset id, then the nearest in time. Edits may be made years later.
 */
function chooseRelative(arrived: Arrived, { relatives, otherHalves }: Relatives): KnownAsset | undefined {
  const { role, assetId, contentId } = arrived
  const at = arrived.capture.at?.getTime() ?? null
  const isSame = (one: KnownAsset) => assetId !== null && one.assetId === assetId
  const distance = (one: KnownAsset) => {
    const taken = takenAt(one)
    return taken === null || at === null ? undefined : Math.abs(taken - at)
  }
  const stored = relatives.filter((one) => one.status === 'Completed' && one.filePath !== null)
  // One that is asked for again, since it has changed, counts as what is stored of it.
  const awaited = relatives.filter(
    (one) => one.status !== 'Completed' && !stored.some((known) => isAskedAgain(one, known)),
  )
  const nearest = (candidates: readonly KnownAsset[]) =>
    candidates.toSorted(
      (a, b) =>
        Number(isSame(b)) - Number(isSame(a)) ||
        (distance(a) ?? APART_MS) - (distance(b) ?? APART_MS) ||
        stored.indexOf(b) - stored.indexOf(a),
    )[0]

  const identified = stored.filter((one) => contentId !== null && one.contentId === contentId)
  const isPossible = (one: KnownAsset) => isSame(one) || role === 'edits' || (distance(one) ?? 0) <= APART_MS
  // Two identifiers that differ tell of two Live Photos.
  const unidentified = stored.filter((one) => contentId === null || one.contentId === null)
  return (
    nearest(identified) ??
    nearest(otherHalves.filter((one) => one.status === 'Completed')) ??
    nearest([...unidentified, ...awaited].filter(isPossible))
  )
}

/** Phones use a name again: without an id it is the same asset only if it was taken at about the same time. */
function isAskedAgain(awaited: KnownAsset, stored: KnownAsset): boolean {
  if (awaited.assetId !== stored.assetId) return false
  const [one, other] = [takenAt(awaited), takenAt(stored)]
  return awaited.assetId !== null || one === null || other === null || Math.abs(one - other) <= DAY_MS
}

function takenAt(one: KnownAsset): number | null {
  return one.capturedAt ?? one.created
}
