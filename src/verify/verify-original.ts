/*
 * verify/: Reading originals back: what is due, what it is compared with, what follows when it is lost, where it can
 * be healed from. Nothing is deleted here.
 */

import type { Library } from '../archive/library.ts'
import { lookForDate, recordContent } from '../archive/read-original.ts'
import { ifReadable } from '../base/if-readable.ts'
import { declareLost, type HeldLoss, holdingLost } from '../catalogue/losses.ts'
import { LIBRARY } from '../catalogue/places.ts'
import {
  findOriginal,
  isSizeOfAnother,
  type Provable,
  recordExpected,
  recordVerified,
} from '../catalogue/verification.ts'
import { isMonthFolder, type LibraryPath, parseLibraryPath, splitPath } from '../format/layout.ts'
import type { Checksum } from '../media/checksum.ts'
import type { Pause } from '../storage/direct-read.ts'
import { flushOriginal } from '../storage/originals.ts'
import { quarantine } from '../storage/quarantine.ts'
import { readSums } from '../storage/read-sums.ts'
import { heal, healContent } from './heal.ts'
import { judge, type Verdict } from './judge.ts'

/** What came of reading an original back. What it has led to has happened. */
export type Outcome =
  | {
      state: 'intact'
      checksum: Checksum
      /** Bytes. */
      size: number
      /** When its reading began. */
      at: Date
      /** Whether it was lost and is back. */
      isRestored: boolean
      /** The capture date that its bytes tell, where that was not known; null if they tell none. */
      ownDate?: Date | null | undefined
    }
  | {
      state: 'missing' | 'corrupt' | 'unreadable'
      /** The id of the finding that tells of it. */
      finding: number
      /** What lay there instead. */
      found: Checksum | null
      /** Whether what lay there is out of the way. */
      isCleared: boolean
      /** Whether the original has been put back. */
      isHealed: boolean
      /** Whether what was seen there lies there still. */
      isStillSo: () => Promise<boolean>
    }

/**
 * Reads the original at `path` back from the drive, compares it with the catalogue, and sees to what follows:
 *
 * - intact: its `verified_at` says so; if it was lost, it is declared restored.
 * - missing, corrupt, unreadable: it is declared lost, so that phones are asked for it again. Only then what is corrupt
 *   is moved to quarantine. What can't be read stays where it is, until new bytes need its place or it can be read
 *   again. If its content is intact elsewhere, it is put back at once; and so is what was lost and turned up in its
 *   place.
 *
 * `pause` is awaited between chunks of 1 MiB. Returns `undefined` if the catalogue does not have it. Throws
 * `drive_missing`, `database_unavailable`, and `drive_error` for what is wrong with more than this file.
 */
export async function verifyOriginal(library: Library, path: LibraryPath, pause?: Pause): Promise<Outcome | undefined> {
  const outcome = await readBack(library, path, pause)
  return outcome === undefined ? undefined : healed(library, path, outcome, pause)
}

/** The same, but for the healing: for those who have the content. */
export async function readBack(library: Library, path: LibraryPath, pause?: Pause): Promise<Outcome | undefined> {
  const original = await findOriginal(library.db, path)
  if (original === undefined) return undefined
  const outcome = await examine(library, original, pause)
  if (outcome?.state === 'intact') await recordVerified(library.db, LIBRARY, [{ path, ...outcome }])
  return outcome
}

/**
 * Puts a lost original back where that can be done, and what turned up in its place; returns the outcome with what has
 * come of it.
 */
export async function healed(library: Library, path: LibraryPath, outcome: Outcome, pause?: Pause): Promise<Outcome> {
  if (outcome.state === 'intact') return outcome
  const giveWay = pause === undefined ? undefined : () => pause(0)
  if (outcome.found !== null) await healContent(library, outcome.found, giveWay)
  return { ...outcome, isHealed: await heal(library, path, { pause: giveWay }) }
}

/**
 * Like `readBack` for a row that was read a moment ago, but that the caller records what was found intact, many at a
 * time. Returns `undefined` if somebody else has changed its state meanwhile, or it is gone from the catalogue.
 */
export async function examine(library: Library, original: Provable, pause?: Pause): Promise<Outcome | undefined> {
  // What is changed while it is being read has been changed since.
  const at = library.now()
  const known = original.checksum === null ? await withSum(library, original) : original
  const verdict = await judge(library.drive, library.reader, known, {
    pause,
    isSizeKnown: original.checksum !== null,
    // Two that were swapped heal each other.
    isWorthReading: (size) => isSizeOfAnother(library.db, size),
  })
  if (verdict.state !== 'intact') return lose(library, original, known.checksum, verdict)
  const { checksum, size } = verdict
  const path = parseLibraryPath(original.path)
  const isNew = original.checksum === null
  if (isNew) await recordContent(library, path, verdict, at)
  const ownDate = isNew || original.isDated ? undefined : await lookForDate(library, path, size)
  const isRestored = original.isLost && (await takeBack(library, path, size))
  return { state: 'intact', checksum, size, at, isRestored, ownDate }
}

/** What has not been read yet is compared with what its folder's SHA256SUMS says, if it says anything. */
async function withSum(library: Library, original: Provable): Promise<Provable> {
  const { folder, name } = splitPath(original.path)
  if (!isMonthFolder(folder)) return original
  const sum = (await readSums(library.drive, folder))?.sums.get(name)
  return sum === undefined ? original : { ...original, checksum: sum }
}

const BY_A_PERSON = 'the file, which is back'

/** A lost original has been read and is intact: whoever has put it there may not have flushed it. */
async function takeBack(library: Library, path: LibraryPath, size: number): Promise<boolean> {
  await flushOriginal(library.drive, path)
  await library.committer.settle(path)
  const restore = async (held: HeldLoss) => {
    await held.restored(BY_A_PERSON, size, library.now())
    return true
  }
  return (await library.locks.loss.run('', () => holdingLost(library.db, path, restore))) ?? false
}

async function lose(
  library: Library,
  original: Provable,
  expected: Checksum | null,
  verdict: Exclude<Verdict, { state: 'intact' }>,
): Promise<Outcome | undefined> {
  const path = parseLibraryPath(original.path)
  const { state, isStillSo } = verdict
  const found = state === 'corrupt' ? verdict.found : null
  if (original.checksum !== expected && expected !== null) await recordExpected(library.db, path, expected)
  const loss = { path, kind: state, expected, found: verdict.state === 'unreadable' ? verdict.strange : found }
  const finding = await library.locks.loss.run('', () =>
    declareLost(library.db, loss, reasonFor(verdict, original), library.now(), isStillSo),
  )
  if (finding === undefined) return undefined
  // Where the drive refuses that, it stays: everybody knows by now that it is not the original.
  const isMoved = state === 'corrupt' && (await ifReadable(clearPlace(library, path, isStillSo))) === true
  const isCleared = state === 'missing' || isMoved
  return { state, finding, found, isCleared, isHealed: false, isStillSo }
}

/**
 * Moves what lies in the place of a lost original to quarantine, unless something else lies there than `isStillSo`
 * knows, or the original is not lost any more. Returns whether the place is free now.
 */
export async function clearPlace(
  library: Library,
  path: LibraryPath,
  isStillSo: () => Promise<boolean>,
): Promise<boolean> {
  const move = async (held: HeldLoss) => {
    if (!(await isStillSo())) return false
    await held.quarantined(await quarantine(library.drive, path, library.now()))
    return true
  }
  return (await library.locks.loss.run('', () => holdingLost(library.db, path, move))) ?? false
}

/** For the log of backups, which people read on their phones. */
function reasonFor(verdict: Exclude<Verdict, { state: 'intact' }>, { size }: Provable): string {
  switch (verdict.state) {
    case 'missing':
      return 'The file has gone from the drive; it is asked for again.'
    case 'corrupt':
      return `The file was damaged on the drive (${damageOf(verdict, size)}); it is asked for again.`
    case 'unreadable':
      return `The drive can’t read the file any more (${verdict.because}); it is asked for again.`
  }
}

function damageOf(verdict: Extract<Verdict, { state: 'corrupt' }>, size: number | null): string {
  if (verdict.found !== null) return `its SHA-256 has become ${verdict.found}`
  return `it has become ${verdict.size} bytes long, and ${size ?? 'far fewer'} were expected`
}
