import type { Library } from '../archive/library.ts'
import { believed } from '../base/clock.ts'
import type { KeyedLock } from '../base/keyed-lock.ts'
import type { Database } from '../catalogue/connection.ts'
import type { Offer, OfferedFile } from '../catalogue/offered.ts'
import { type Evidence, gatherEvidence } from '../catalogue/verdict.ts'
import { recheckPaths } from '../catalogue/verification.ts'
import { AppError } from '../errors.ts'
import { type LibraryPath, parseLibraryPath } from '../format/layout.ts'
import type { Checksum } from '../media/checksum.ts'
import type { Pause } from '../storage/direct-read.ts'
import type { Drive } from '../storage/drive.ts'
import { type FileState, stateOf } from '../storage/originals.ts'
import { verifyOriginal } from '../verify/verify-original.ts'
import { portionsOf } from './offer.ts'

/** Why a file is not known to be safe. */
export type Doubt =
  | 'not_backed_up'
  | 'ignored'
  | 'pending'
  | 'failed'
  | 'not_identified'
  | 'missing'
  | 'corrupt'
  | 'unreadable'
  | 'not_verified'
  | 'drive_missing'

/** Whether the phone may delete its own copy of a file. */
export type Verdict =
  | { safe: true; sha256: Checksum; storedAt: Date | null; verifiedAt: Date; copies: number }
  | { safe: false; reason: Doubt; message: string }

/** What judging needs. */
export interface Court {
  db: Database
  /** `undefined` while it has not been there yet. */
  library: Library | undefined
  /** Lets one original be read back at a time, whoever asks. */
  reading: KeyedLock
}

/** What a request may have read back from the drive; the rest is read soon. */
export interface Allowance {
  bytes: number
  /** No file is begun after it, on the clock of `performance.now`. */
  until: number
}

const MESSAGES: Record<Doubt, string> = {
  not_backed_up: 'The library does not have this file.',
  ignored: 'This file is not backed up because it is ignored.',
  pending: 'This file has been asked for and has not arrived yet.',
  failed: 'The last upload of this file failed.',
  not_identified:
    'There is a photo of this path, but nothing that came with it proves that it is this one: send its sha256, or its size and created; or back it up with its asset_id.',
  missing: 'The drive does not have the intact file any more: back it up again.',
  corrupt: 'The file on the drive is damaged: back it up again.',
  unreadable: 'The drive can’t read the file.',
  not_verified: 'The file has not been read back from the drive since it was stored; it will be soon. Ask again later.',
  drive_missing: 'The drive with the photo library is not there.',
}

function doubt(reason: Doubt, detail?: string): Verdict {
  return { safe: false, reason, message: detail === undefined ? MESSAGES[reason] : `${MESSAGES[reason]} ${detail}` }
}

/**
 * Judges each file of a phone's list, in order: is its original certainly on the drive, now, and has it been read back
 * intact since it was stored? What nobody has read back yet is read now, as far as `allowance` goes. What is said alike
 * of many files is one object, so that a long answer takes little memory until it has been taken.
 */
export async function judge(court: Court, offer: Offer, allowance: Allowance): Promise<Verdict[]> {
  const { db, library, reading } = court
  const present = library !== undefined && (await isThere(library.drive)) ? library : undefined
  const verdicts: Verdict[] = []
  const said = new Map<string, Verdict>()
  let bytes = allowance.bytes
  const spend = async (read: number) => {
    bytes -= read
    if (bytes < 0) throw new Spent()
  }
  /** Reads originals back, of these sizes, as far as it is allowed to. */
  const readAll = async (sizes: ReadonlyMap<string, number>) => {
    const read = new Map<string, Date | Doubt>()
    for (const [path, size] of sizes) {
      if (present === undefined || bytes < size || performance.now() > allowance.until) continue
      const outcome = await reading.run('', () => readBack(present, parseLibraryPath(path), spend))
      if (outcome !== undefined) read.set(path, outcome)
    }
    return read
  }
  for (const files of portionsOf(offer.files)) {
    const now = library?.now() ?? new Date()
    const gather = async () =>
      (await gatherEvidence(db, { ...offer, files }, now)).map((evidence) => believing(evidence, now))
    let cases = await gather()
    const looked = await readAll(openOf(cases, files))
    if (looked.size > 0) cases = await gather()
    const states = present === undefined ? new Map<string, FileState>() : await statesOf(present.drive, cases)
    const impressions = cases.map((evidence) => assess(evidence, states.get(evidence.original?.path ?? '')))
    const read = await readAll(toBeRead(cases, impressions))
    const later = cases.flatMap(({ original, open }, index) => {
      const isLeft = impressions[index] === 'not_verified' || impressions[index] === 'unread'
      const path = original?.path ?? open
      return isLeft && path !== null && !read.has(path) && !looked.has(path) ? path : []
    })
    if (later.length > 0) {
      await recheckPaths(db, later)
      library?.readSoon()
    }
    for (const [index, evidence] of cases.entries()) {
      const verdict = conclude(evidence, impressions[index] ?? 'not_backed_up', read)
      const key = verdict.safe ? `${evidence.original?.path} ${verdict.verifiedAt.getTime()}` : verdict.message
      if (!said.has(key)) said.set(key, verdict)
      verdicts.push(said.get(key) ?? verdict)
    }
  }
  return verdicts
}

/** The originals that may prove to be one of `files` once they have been read, with their sizes. */
function openOf(cases: readonly Evidence[], files: readonly OfferedFile[]): Map<string, number> {
  return new Map(
    cases.flatMap(({ open, isPending }, index) =>
      open === null || isPending ? [] : [[open, files[index]?.size ?? 0] as const],
    ),
  )
}

/** The evidence without times that can't be true: they prove nothing. */
function believing(evidence: Evidence, now: Date): Evidence {
  const { original } = evidence
  if (original === null) return evidence
  const { storedAt, verifiedAt } = original
  const times = { storedAt: believed(storedAt, now), verifiedAt: believed(verifiedAt, now) }
  return { ...evidence, original: { ...original, ...times } }
}

/** What the catalogue and a look at the drive say: certainly safe, in doubt, or to be read back first. */
export type Impression = 'safe' | 'unread' | Doubt

/** File systems tell times of change in steps: of 4 ms where the kernel's own clock does, of 2 s on FAT. */
const CLOCK_GRAIN_MS = 2_000

/** `state` is what lies in the original's place at this moment; `undefined` if the drive is not there. */
export function assess(evidence: Evidence, state: FileState | undefined): Impression {
  const { original } = evidence
  // A person wants it so, whatever has become of it before.
  if (original === null && evidence.isIgnored && !evidence.isUnproven) return 'ignored'
  if (evidence.isPending) return 'pending'
  if (evidence.failure !== null) return 'failed'
  if (original === null) {
    if (evidence.open !== null) return 'not_verified'
    return evidence.isUnproven ? 'not_identified' : 'not_backed_up'
  }
  if (original.isLost)
    return original.finding === 'corrupt' || original.finding === 'unreadable' ? original.finding : 'missing'
  if (state === undefined) return 'drive_missing'
  if (original.checksum === null) return 'not_verified'
  const { verifiedAt, storedAt } = original
  const isProven =
    verifiedAt !== null &&
    !original.recheck &&
    (storedAt === null || verifiedAt >= storedAt) &&
    typeof state === 'object' &&
    state.size === original.size &&
    // Whoever has touched the file since: it is not what was read back.
    state.changedAt < verifiedAt.getTime() - CLOCK_GRAIN_MS
  return isProven ? 'safe' : 'unread'
}

/** The originals that decide over files and have to be read back first, each once. */
function toBeRead(cases: readonly Evidence[], impressions: readonly Impression[]): Map<string, number> {
  const sizes = new Map<string, number>()
  for (const [index, { original }] of cases.entries()) {
    if (impressions[index] === 'unread' && original !== null) sizes.set(original.path, original.size ?? 0)
  }
  return sizes
}

function conclude(evidence: Evidence, impression: Impression, read: ReadonlyMap<string, Date | Doubt>): Verdict {
  const { original } = evidence
  if (impression !== 'safe' && impression !== 'unread') {
    return doubt(impression, impression === 'failed' ? (evidence.failure ?? undefined) : undefined)
  }
  const outcome = impression === 'safe' ? original?.verifiedAt : read.get(original?.path ?? '')
  if (typeof outcome === 'string') return doubt(outcome)
  if (!original?.checksum || !outcome) return doubt('not_verified')
  const { checksum: sha256, storedAt, copies } = original
  return { safe: true, sha256, storedAt, verifiedAt: outcome, copies: 1 + copies }
}

/** Files looked at on the drive at a time. */
const LOOKS = 16

/** What lies in the places of the originals, by path. */
async function statesOf(drive: Drive, cases: readonly Evidence[]): Promise<Map<string, FileState>> {
  const states = new Map<string, FileState>()
  const paths = [...new Set(cases.flatMap(({ original }) => original?.path ?? []))].values()
  const look = async () => {
    for (const path of paths) states.set(path, await stateOf(drive, parseLibraryPath(path)))
  }
  await Promise.all(Array.from({ length: LOOKS }, look))
  return states
}

/** What a request may have read is read: whatever lies on the drive, it keeps no other request waiting for longer. */
class Spent extends Error {}

/**
 * Reads an original back from the drive; returns when it was found intact, else what is wrong with it; `undefined` if
 * `spend`, which is told the bytes, has ended it.
 */
async function readBack(library: Library, path: LibraryPath, spend: Pause): Promise<Date | Doubt | undefined> {
  try {
    let outcome = await verifyOriginal(library, path, spend)
    // Put back from where it was still intact: that is to be read back as well.
    if (outcome !== undefined && outcome.state !== 'intact' && outcome.isHealed) {
      outcome = await verifyOriginal(library, path, spend)
    }
    if (outcome === undefined) return 'not_verified'
    return outcome.state === 'intact' ? outcome.at : outcome.state
  } catch (error) {
    if (error instanceof Spent) return undefined
    if (!(error instanceof AppError)) throw error
    if (error.code === 'drive_missing') return 'drive_missing'
    if (error.code === 'drive_error') return 'unreadable'
    throw error
  }
}

/** Whether the library's drive can be used at this moment. */
async function isThere(drive: Drive): Promise<boolean> {
  try {
    await drive.check()
    return true
  } catch (error) {
    if (error instanceof AppError) return false
    throw error
  }
}
