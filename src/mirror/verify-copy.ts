import { ifReadable } from '../base/if-readable.ts'
import { findWanted, recordCopies, recordCopyLost } from '../catalogue/copies.ts'
import { healFindings, noteQuarantined, recordFinding } from '../catalogue/findings.ts'
import { settleWithoutCopy } from '../catalogue/losses.ts'
import type { Provable } from '../catalogue/verification.ts'
import { hasCode, isAboutFile } from '../errors.ts'
import { parseLibraryPath } from '../format/layout.ts'
import type { Checksum } from '../media/checksum.ts'
import { SourceError } from '../storage/copy.ts'
import type { Pause } from '../storage/direct-read.ts'
import { quarantine } from '../storage/quarantine.ts'
import { judge } from '../verify/judge.ts'
import { copyOriginal } from './copy-original.ts'
import type { Mirror } from './mirror.ts'
import { COPY_LOSSES, FROM_LIBRARY } from './note-copies.ts'

/** What came of reading a copy back. What it has led to has happened. */
export type CopyOutcome =
  | { state: 'intact'; path: string; checksum: Checksum; at: Date }
  | {
      state: 'missing' | 'corrupt' | 'unreadable'
      /** The id of the finding that tells of it. */
      finding: number
      found: Checksum | null
      /** Whether it has been copied again from the library. */
      isHealed: boolean
    }

/**
 * Reads a copy back from the mirror and compares it. One that is not intact does not count from then on; what lies in
 * its place is moved to the mirror's quarantine, and the original is copied again if the library has it. That one is
 * intact is for the caller to record (`recordCopiesVerified`), many at a time. Returns `undefined` if somebody else has
 * changed it meanwhile.
 *
 * Throws `mirror_missing`, `drive_missing`, `database_unavailable`, and `drive_error` for what is wrong with more than
 * this file.
 */
export async function verifyCopy(mirror: Mirror, copy: Provable, pause?: Pause): Promise<CopyOutcome | undefined> {
  const { library, place, drive } = mirror
  const path = parseLibraryPath(copy.path)
  const verdict = await judge(drive, mirror.reader, copy, { pause, isSizeKnown: true })
  if (verdict.state === 'intact') return { state: 'intact', path, checksum: verdict.checksum, at: library.now() }

  const { state, isStillSo } = verdict
  const found = verdict.state === 'corrupt' ? verdict.found : null
  const loss = { place, kind: state, path, expected: copy.checksum, found } as const
  if (!(await isStillSo())) return undefined
  const finding = await recordFinding(library.db, loss, library.now())
  await recordCopyLost(library.db, place, path, library.now())
  await settleWithoutCopy(library.db, path, library.now())
  // Where the drive refuses that, it stays: it does not count any more.
  if (state !== 'missing' && (await isStillSo())) {
    const quarantined = await ifReadable(quarantine(drive, path, library.now()))
    if (quarantined !== undefined) await noteQuarantined(library.db, place, path, quarantined)
  }
  return { state, finding, found, isHealed: await copyAgain(mirror, path, pause) }
}

/** Its line in SHA256SUMS has stayed, so only the catalogue has to be told. */
async function copyAgain(mirror: Mirror, path: string, pause?: Pause): Promise<boolean> {
  const { library, place } = mirror
  const copy = await findWanted(library.db, place, path)
  if (copy === undefined) return false
  try {
    await copyOriginal(mirror, copy, async () => pause?.(0))
  } catch (error) {
    // The library does not have it either: its own verification sees to that. What only this copy met, the server tries
    // again.
    if (error instanceof SourceError || isAboutFile(error) || hasCode(error, 'name_taken')) return false
    throw error
  }
  await recordCopies(library.db, place, [copy], library.now())
  await healFindings(library.db, place, COPY_LOSSES, [path], FROM_LIBRARY, library.now())
  return true
}
