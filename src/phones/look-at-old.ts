import { setImmediate } from 'node:timers/promises'
import { LARGEST_ORIGINAL } from '../base/budgets.ts'
import type { Database } from '../catalogue/connection.ts'
import { findLookedUntil, recordLookedUntil } from '../catalogue/library.ts'
import type { OfferedFile } from '../catalogue/offered.ts'
import { listOld, listOldOf, type OldOriginal, recordAbsent, recordSizes } from '../catalogue/old-originals.ts'
import { type LibraryPath, parseLibraryPath } from '../format/layout.ts'
import type { Drive } from '../storage/drive.ts'
import { type FileState, stateOf } from '../storage/originals.ts'

/** What looking needs. */
export interface Looking {
  db: Database
  drive: Drive
  now: () => Date
}

/** What was looked at, and how many backups turned out not to be there. */
export interface Looked {
  files: number
  refuted: number
}

const PORTION = 2_000
/** Files asked for at once: more than the system answers at a time, so that it never waits for us. */
const AT_ONCE = 16
const ABSENT = 'The file was not on the drive when iClood took it over from an older server; it is asked for again.'

/**
 * Looks at the files of an older server that have not been read, without opening them: a backup whose size is not its
 * file's, or whose file is not there, is none. Goes on after a restart where it was. Throws `drive_missing`,
 * `database_unavailable`, and on `signal`.
 */
export async function lookAtOld(looking: Looking, signal: AbortSignal): Promise<Looked> {
  const looked: Looked = { files: 0, refuted: 0 }
  for (let after = await findLookedUntil(looking.db); after !== null; ) {
    signal.throwIfAborted()
    const portion = await listOld(looking.db, after, PORTION)
    looked.files += portion.length
    looked.refuted += await look(looking, portion)
    after = portion.at(-1)?.path ?? null
    await recordLookedUntil(looking.db, after)
    await setImmediate()
  }
  return looked
}

/** The same for what a phone's list asks about, so that nothing is called backed up that nobody has looked at. */
export async function lookAtListed(looking: Looking, deviceId: string, files: readonly OfferedFile[]): Promise<void> {
  const after = await findLookedUntil(looking.db)
  if (after === null) return
  const paths = files.map(({ path }) => path)
  const listed = await listOldOf(looking.db, deviceId, paths, after)
  if (listed.length > 0) await look(looking, listed)
}

async function look({ db, drive, now }: Looking, old: readonly OldOriginal[]): Promise<number> {
  await drive.check()
  const paths = old.map(({ path }) => parseLibraryPath(path))
  const states = await statesOf(drive, paths)
  const absent: LibraryPath[] = []
  const seen: { path: LibraryPath; size: number }[] = []
  for (const [index, path] of paths.entries()) {
    const state = states[index]
    const known = old[index]
    // What can't be looked at is left to those who read, and what no original can be.
    if (state === undefined || state === 'unreadable' || known === undefined) continue
    if (state === 'absent') absent.push(path)
    else if (state.size > LARGEST_ORIGINAL) continue
    else if (known.isDisputed || state.size !== known.size) seen.push({ path, size: state.size })
  }
  let refuted = 0
  if (seen.length > 0) {
    refuted += await recordSizes(db, seen)
  }
  if (absent.length > 0) {
    // Gone with the drive is not gone from it.
    await drive.check()
    refuted += await recordAbsent(db, absent, ABSENT, now())
  }
  return refuted
}

/** In the order of `paths`. */
async function statesOf(drive: Drive, paths: readonly LibraryPath[]): Promise<FileState[]> {
  const states: FileState[] = []
  const entries = paths.entries()
  const next = async () => {
    for (const [index, path] of entries) states[index] = await stateOf(drive, path)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, next))
  return states
}
