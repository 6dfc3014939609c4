/*
 * phones/: What a phone asks before it sends: what is backed up, what is ignored, what may be deleted there.
 */

import { type RowBounds, WAITING_ROWS } from '../base/budgets.ts'
import { ifReadable } from '../base/if-readable.ts'
import { announce, recordKnownContent } from '../catalogue/announce.ts'
import { classify } from '../catalogue/classify.ts'
import type { Database } from '../catalogue/connection.ts'
import { retryingDeadlocks } from '../catalogue/deadlock.ts'
import { findContent } from '../catalogue/files.ts'
import type { OfferedFile } from '../catalogue/offered.ts'
import { countShares, hasTooManyDevices, makeRoom } from '../catalogue/row-shares.ts'
import { forgetUnsent } from '../catalogue/unsent.ts'
import { parseLibraryPath } from '../format/layout.ts'
import type { Drive } from '../storage/drive.ts'
import { sizeOf } from '../storage/originals.ts'
import { lookAtListed } from './look-at-old.ts'

/** What becomes of each file of a phone's list, by its index there; the others are backed up. */
export interface Sorted {
  new: number[]
  ignored: number[]
}

/** What sorting needs. */
export interface OfferContext {
  db: Database
  drive: Drive
  now: () => Date
  /** How many rows may wait for their files; left out: `WAITING_ROWS`. */
  waiting?: RowBounds
}

/**
 * Files sorted in one statement, and the characters of their paths: enough for any phone in one go, but no list holds
 * up others.
 */
const PORTION_FILES = 10_000
const PORTION_CHARACTERS = 4_000_000

/**
 * Sorts a phone's list into what is backed up, what is ignored and what is to be sent, and remembers the last as
 * announced from `address`. A file whose checksum the library has, on the drive, is recorded at once. Throws
 * `drive_missing` or `drive_error` while the drive is away: a phone that is told "nothing new" takes all for backed up.
 */
export async function offer(
  context: OfferContext,
  deviceId: string,
  address: string,
  files: readonly OfferedFile[],
): Promise<Sorted> {
  await context.drive.check()
  const sorted: Sorted = { new: [], ignored: [] }
  let start = 0
  for (const portion of portionsOf(files)) {
    await lookAtListed(context, deviceId, portion)
    const now = context.now()
    const classified = await classify(context.db, deviceId, address, portion, now)
    const { ignored, backedUp, announced } = classified
    const open = portion.filter((_, index) => !ignored.has(index) && !backedUp.has(index))
    const known = await recordKnown(context, deviceId, address, await findKnown(context, open), now)
    const wanted = (file: OfferedFile, index: number) => !ignored.has(index) && !backedUp.has(index) && !known.has(file)
    const unannounced = portion.filter((file, index) => wanted(file, index) && !announced.has(index))
    if (unannounced.length > 0) {
      await remember(context, deviceId, address, unannounced, now)
    }
    if (classified.hasForgotten) await retryingDeadlocks(() => forgetUnsent(context.db, now))

    for (const [index, file] of portion.entries()) {
      if (ignored.has(index)) sorted.ignored.push(start + index)
      else if (wanted(file, index)) sorted.new.push(start + index)
    }
    start += portion.length
  }
  return sorted
}

/**
 * Remembers what is asked for, as far as there is room for it: whatever is forgotten, the list has its answer.
 */
async function remember(
  context: OfferContext,
  deviceId: string,
  address: string,
  files: readonly OfferedFile[],
  now: Date,
): Promise<void> {
  const { db, waiting = WAITING_ROWS } = context
  const shares = await countShares(db, 'waiting', deviceId, address)
  if (hasTooManyDevices(shares)) return
  await retryingDeadlocks(() => announce(db, deviceId, address, files, now, shares.here > 0))
  const { length } = files
  const { all, ofAddress, ofDevice } = shares
  if (all + length <= waiting.all && ofAddress + length <= waiting.each && ofDevice + length <= waiting.device) {
    return
  }
  await retryingDeadlocks(() => makeRoom(db, deviceId, address, waiting))
}

/** Cuts a list into portions that may be sorted in one statement each. */
export function* portionsOf(files: readonly OfferedFile[]): Generator<OfferedFile[]> {
  let portion: OfferedFile[] = []
  let characters = 0
  for (const file of files) {
    portion.push(file)
    characters += file.path.length + file.name.length
    if (portion.length < PORTION_FILES && characters < PORTION_CHARACTERS) continue
    yield portion
    portion = []
    characters = 0
  }
  if (portion.length > 0) yield portion
}

/** Records files whose content was found at these paths; returns those that it still has there. */
async function recordKnown(
  context: OfferContext,
  deviceId: string,
  address: string,
  found: ReadonlyMap<OfferedFile, string>,
  now: Date,
): Promise<Set<OfferedFile>> {
  if (found.size === 0) return new Set()
  const known = [...found].map(([file, libraryPath]) => ({ ...file, libraryPath }))
  const lost = await retryingDeadlocks(() => recordKnownContent(context.db, deviceId, address, known, now))
  return new Set([...found.keys()].filter((_, index) => !lost.has(index)))
}

/** Those of `files` whose content the library has, with its path; only what is on the drive at this moment. */
async function findKnown(context: OfferContext, files: readonly OfferedFile[]): Promise<Map<OfferedFile, string>> {
  const checksums = files.flatMap((file) => file.checksum ?? [])
  const known = new Map<OfferedFile, string>()
  if (checksums.length === 0) return known
  const content = await findContent(context.db, [...new Set(checksums)])
  for (const file of files) {
    const found = file.checksum === null ? undefined : content.get(file.checksum)
    if (found === undefined) continue
    const size = await ifReadable(sizeOf(context.drive, parseLibraryPath(found.path)))
    if (size === found.size) known.set(file, found.path)
  }
  return known
}
