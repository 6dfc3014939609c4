import { setTimeout } from 'node:timers/promises'
import type { Library } from '../archive/library.ts'
import { ifReadable } from '../base/if-readable.ts'
import { findCatalogued } from '../catalogue/files.ts'
import { findHealed, healFindings, listOpenPaths, recordFinding, recordFindings } from '../catalogue/findings.ts'
import { listFolder } from '../catalogue/folders.ts'
import { LIBRARY } from '../catalogue/places.ts'
import {
  isMonthFolder,
  type LibraryPath,
  type MonthFolder,
  parseLibraryPath,
  pathIn,
  SUMS_FILE,
  splitPath,
} from '../format/layout.ts'
import { strangeNames } from '../format/strange-names.ts'
import { hasHardLinks } from '../storage/hard-links.ts'
import { type EntryFacts, entryOf, listMonthFolders, listNames } from '../storage/month-folders.ts'
import { readSums } from '../storage/read-sums.ts'
import { compareSums, type Disagreement } from './compare-sums.ts'

/** What lies in a month folder and the catalogue does not have. */
export interface Unknown extends Pick<EntryFacts, 'kind'> {
  path: LibraryPath
  /** Bytes. */
  size: number
}

export interface WalkOptions {
  /** Which originals and files count. */
  isSelected: (path: string) => boolean
  /** Which folders are looked at; all that have something selected are among them. */
  isWithin: (folder: MonthFolder) => boolean
  /** Originals whose lines in SHA256SUMS nobody may have written yet. */
  mayLackSum: (path: string) => boolean
  /**
   * Whether a server sees to it that each SHA256SUMS is right: this one, or one that hears of what a command has found.
   */
  isServed: boolean
  /** Awaited before each folder. */
  pause: () => Promise<void>
  signal: AbortSignal
}

/** What comparing the folders with the catalogue has shown. */
export interface Walk {
  unknown: Unknown[]
  /** The ids of the findings, new or open before, that tell of it. */
  findings: number[]
}

/** An upload that has given a file its name records it within this time, or not at all. */
const SETTLED_MS = 10_000
/** A line is written within this time; who reads the file meanwhile may see half of it. */
const APPENDED_MS = 500
/** When an original has left its path, the server takes its line away well within this time. */
const LISTED_MS = 60_000
/** And it writes a file anew that it is told to be wrong within this one. */
const MENDED_MS = 10_000
const LOOK_MS = 250
/** Findings recorded in one statement. */
const PORTION = 1_000

const UNREADABLE_SUMS: Disagreement = { name: SUMS_FILE, expected: null, found: null }

const OVER = 'somebody, since it was found'
const REWRITTEN = 'the file, which is right by now'
const BY_SERVER = 'the server, which has written it anew'

/**
 * Compares the drive's month folders and their SHA256SUMS with the catalogue: records a finding for each file that the
 * catalogue does not have and each SHA256SUMS that disagrees, and closes those that no longer hold. What an upload may
 * be about to record is looked at once more after a while. Throws `drive_missing`, `database_unavailable`, and what
 * `pause` throws.
 */
export async function walkFolders(library: Library, options: WalkOptions): Promise<Walk> {
  const startedAt = library.now()
  const isLinked = await hasHardLinks(library.drive)
  const unknown: Unknown[] = []
  const unlisted: LibraryPath[] = []
  const unsettled: LibraryPath[] = []
  const doubtful: MonthFolder[] = []
  for (const folder of (await listMonthFolders(library.drive)).filter(options.isWithin)) {
    await options.pause()
    const looked = await ifReadable(lookInto(library, folder, options))
    if (looked === undefined) unlisted.push(parseLibraryPath(folder))
    for (const { path, kind, size, links, touchedAt } of looked?.strangers ?? []) {
      const isSettled = (isLinked && links === 1) || startedAt.getTime() - touchedAt.getTime() > SETTLED_MS
      if (isSettled) unknown.push({ path, kind, size })
      else unsettled.push(path)
    }
    if (looked !== undefined && looked.disagreements.length > 0) doubtful.push(folder)
  }
  const [stillUnknown, stillWrong] = await Promise.all([
    untilSettled(unsettled, SETTLED_MS, options.signal, (paths) => findUnknown(library, paths)),
    untilSettled(doubtful, APPENDED_MS, options.signal, (folders) => findWrongSums(library, folders, options)),
  ])
  unknown.push(...stillUnknown)
  const news = unknown.map(({ path, kind }) => ({ path, found: kind === 'a file' ? null : kind }))
  const unlistable = unlisted.map((path) => ({ path, found: null }))
  const findings = [
    ...(await record(library, 'unknown', news, (path) => isLookedAt(path, options))),
    ...(await record(library, 'unreadable', unlistable, (path) => isMonthFolder(path) && options.isWithin(path))),
    ...(await recordSums(library, stillWrong, options)),
  ]
  await haveMended(library, stillWrong, options)
  return { unknown, findings }
}

/**
 * Looks at `items` again and again, for as long as something is found, but no longer than `ms`. Returns what was found
 * last.
 */
async function untilSettled<Item, Found>(
  items: readonly Item[],
  ms: number,
  signal: AbortSignal,
  look: (items: readonly Item[]) => Promise<Found[]>,
): Promise<Found[]> {
  if (items.length === 0) return []
  const until = performance.now() + ms
  for (;;) {
    const found = await look(items)
    const left = until - performance.now()
    if (found.length === 0 || left <= 0) return found
    await setTimeout(Math.min(LOOK_MS, left), undefined, { signal })
  }
}

/** What a folder has that the catalogue does not, and where its SHA256SUMS disagrees. */
async function lookInto(library: Library, folder: MonthFolder, { isSelected, mayLackSum }: WalkOptions) {
  const names = await listNames(library.drive, folder)
  const sums = await ifReadable(readSums(library.drive, folder).then((parsed) => ({ parsed })))
  // After the names: what is recorded in between must not look like a stranger.
  const originals = await listFolder(library.db, folder)
  const known = originals.map(({ name }) => name)
  const strange = strangeNames(names, known)
    .map((name) => pathIn(folder, name))
    .filter(isSelected)
  const facts = await Promise.all(strange.map(async (path) => ({ path, file: await entryOf(library.drive, path) })))
  // And those once more that had only one name when they were looked at: the upload has recorded them by then.
  const catalogued = await findCatalogued(library.db, strange)
  const strangers = facts.flatMap(({ path, file }) =>
    file === undefined || catalogued.has(path) ? [] : { path, ...file },
  )
  const disagreements =
    sums === undefined
      ? [UNREADABLE_SUMS]
      : compareSums(sums.parsed, originals, names, library.now(), (name) => mayLackSum(`${folder}/${name}`))
  return { strangers, disagreements: disagreements.filter(({ name }) => isSelected(`${folder}/${name}`)) }
}

async function findUnknown(library: Library, paths: readonly LibraryPath[]): Promise<Unknown[]> {
  const catalogued = await findCatalogued(library.db, paths)
  const unknown: Unknown[] = []
  for (const path of paths.filter((path) => !catalogued.has(path))) {
    const file = await ifReadable(entryOf(library.drive, path))
    if (file !== undefined) unknown.push({ path, kind: file.kind, size: file.size })
  }
  return unknown
}

/** Records a finding of that kind for each of `wrong`, and closes those for other paths that were looked at. */
async function record(
  library: Library,
  kind: 'unknown' | 'unreadable',
  wrong: readonly { path: LibraryPath; found: string | null }[],
  isLookedAt: (path: string) => boolean,
): Promise<number[]> {
  const findings: number[] = []
  for (let start = 0; start < wrong.length; start += PORTION) {
    const portion = wrong.slice(start, start + PORTION)
    const news = portion.map(({ path, found }) => ({ place: LIBRARY, kind, path, expected: null, found }))
    findings.push(...(await recordFindings(library.db, news, library.now())))
  }
  const present = new Set<string>(wrong.map(({ path }) => path))
  const open = await listOpenPaths(library.db, LIBRARY, kind, '')
  const gone = open.filter((path) => isLookedAt(path) && !present.has(path))
  await healFindings(library.db, LIBRARY, [kind], gone, OVER, library.now())
  return findings
}

/** A SHA256SUMS that disagrees, and where it does so first. */
interface WrongSums extends Disagreement {
  folder: MonthFolder
}

async function findWrongSums(
  library: Library,
  folders: readonly MonthFolder[],
  options: WalkOptions,
): Promise<WrongSums[]> {
  const wrong: WrongSums[] = []
  const now = library.now()
  const since = new Date(now.getTime() - LISTED_MS)
  for (const folder of folders) {
    const disagreements = (await ifReadable(lookInto(library, folder, options)))?.disagreements ?? []
    // A lost original whose finding was closed may have been given up just now, and its path given away.
    const paths = disagreements.map(({ name }) => pathIn(folder, name))
    const changed = await findHealed(library.db, paths, since, now)
    const first = disagreements.find(({ name }) => !changed.has(pathIn(folder, name)))
    if (first !== undefined) wrong.push({ folder, ...first })
  }
  return wrong
}

async function recordSums(library: Library, sums: readonly WrongSums[], options: WalkOptions): Promise<number[]> {
  const findings: number[] = []
  for (const { folder, name, expected, found } of sums) {
    const path = pathIn(folder, SUMS_FILE)
    const line = (sum: string | null) => (sum === null ? null : `${sum}  ${name}`)
    const finding = { place: LIBRARY, kind: 'sums', path, expected: line(expected), found: line(found) } as const
    findings.push(await recordFinding(library.db, finding, library.now()))
  }
  const wrong = new Set<string>(sums.map(({ folder }) => pathIn(folder, SUMS_FILE)))
  const open = await listOpenPaths(library.db, LIBRARY, 'sums', '')
  const right = open.filter((path) => isInside(path, options) && !wrong.has(path))
  await healFindings(library.db, LIBRARY, ['sums'], right, REWRITTEN, library.now())
  return findings
}

/**
 * Has the server write those files anew, at once if there is one, and closes the findings about those that are right
 * then.
 */
async function haveMended(library: Library, sums: readonly WrongSums[], options: WalkOptions): Promise<void> {
  if (sums.length === 0) return
  const folders = sums.map(({ folder }) => folder)
  if (!options.isServed) return
  const left = await untilSettled(folders, MENDED_MS, options.signal, (some) => findWrongSums(library, some, options))
  const wrong = new Set(left.map(({ folder }) => folder))
  const mended = folders.filter((folder) => !wrong.has(folder)).map((folder) => pathIn(folder, SUMS_FILE))
  await healFindings(library.db, LIBRARY, ['sums'], mended, BY_SERVER, library.now())
}

function isLookedAt(path: string, options: WalkOptions): boolean {
  return isInside(path, options) && options.isSelected(path)
}

function isInside(path: string, { isWithin }: WalkOptions): boolean {
  return isWithin(splitPath(path).folder as MonthFolder)
}
