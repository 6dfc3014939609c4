import type { Library } from '../archive/library.ts'
import { ifReadable } from '../base/if-readable.ts'
import { healFindings, listOpenPaths, recordFinding, recordFindings } from '../catalogue/findings.ts'
import { type Listed, listFolder } from '../catalogue/folders.ts'
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

/** Findings recorded in one statement. */
const PORTION = 1_000

const UNREADABLE_SUMS: Disagreement = { name: SUMS_FILE, expected: null, found: null }

const OVER = 'somebody, since it was found'
const REWRITTEN = 'the file, which is right by now'
const BY_SERVER = 'the server, which has written it anew'

/**
 * Compares the drive's month folders and their SHA256SUMS with the catalogue: records a finding for each file that the
 * catalogue does not have and each SHA256SUMS that disagrees, and closes those that no longer hold. What an upload is
 * about to record is no finding. Throws `drive_missing`, `database_unavailable`, and what `pause` throws.
 */
export async function walkFolders(library: Library, options: WalkOptions): Promise<Walk> {
  const unknown: Unknown[] = []
  const unlisted: LibraryPath[] = []
  const wrong: WrongSums[] = []
  for (const folder of (await listMonthFolders(library.drive)).filter(options.isWithin)) {
    await options.pause()
    const looked = await ifReadable(lookInto(library, folder, options))
    if (looked === undefined) {
      unlisted.push(parseLibraryPath(folder))
      continue
    }
    unknown.push(...looked.unknown)
    const sums = await findWrongSums(library, folder, looked.originals, options)
    if (sums !== undefined) wrong.push(sums)
  }
  const news = unknown.map(({ path, kind }) => ({ path, found: kind === 'a file' ? null : kind }))
  const unlistable = unlisted.map((path) => ({ path, found: null }))
  const findings = [
    ...(await record(library, 'unknown', news, (path) => isLookedAt(path, options))),
    ...(await record(library, 'unreadable', unlistable, (path) => isMonthFolder(path) && options.isWithin(path))),
    ...(await recordSums(library, wrong, options)),
  ]
  await haveMended(library, wrong, options)
  return { unknown, findings }
}

/** What a folder has that the catalogue does not, and what that has there. */
async function lookInto(
  { drive, db, unrecorded }: Library,
  folder: MonthFolder,
  { isSelected }: WalkOptions,
): Promise<{ unknown: Unknown[]; originals: Listed[] }> {
  // The names first: what is recorded in between must not look like a stranger. It is in one of the two.
  const names = await listNames(drive, folder)
  const coming = unrecorded.namesIn(folder)
  const originals = await listFolder(db, folder)
  const paths = strangeNames(names, [...coming, ...originals.map(({ name }) => name)])
    .map((name) => pathIn(folder, name))
    .filter(isSelected)
  const facts = await Promise.all(paths.map(async (path) => ({ path, file: await entryOf(drive, path) })))
  const unknown = facts.flatMap(({ path, file }) =>
    file === undefined ? [] : { path, kind: file.kind, size: file.size },
  )
  return { unknown, originals }
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

/** Looks again at what disagrees, when all is written that the catalogue knew at the first look. */
async function findWrongSums(
  library: Library,
  folder: MonthFolder,
  before: readonly Listed[],
  options: WalkOptions,
): Promise<WrongSums | undefined> {
  const look = (isDescribed: boolean) => disagreementsIn(library, folder, before, isDescribed, options)
  if ((await look(true)).length === 0) return undefined
  const [first] = await library.describe(look)
  return first === undefined ? undefined : { folder, ...first }
}

/** Where the SHA256SUMS disagrees with what the catalogue knew `before`, and with what it knows now. */
async function disagreementsIn(
  { drive, db }: Library,
  folder: MonthFolder,
  before: readonly Listed[],
  isDescribed: boolean,
  { isSelected }: WalkOptions,
): Promise<Disagreement[]> {
  const sums = await ifReadable(readSums(drive, folder).then((parsed) => ({ parsed })))
  if (sums === undefined) return isSelected(pathIn(folder, SUMS_FILE)) ? [UNREADABLE_SUMS] : []
  const names = (await ifReadable(listNames(drive, folder))) ?? []
  const [then, now] = [before, await listFolder(db, folder)].map((originals) =>
    compareSums(sums.parsed, originals, names, !isDescribed),
  ) as [Disagreement[], Disagreement[]]
  const isSo = (one: Disagreement) =>
    then.some(({ name, expected, found }) => one.name === name && one.expected === expected && one.found === found)
  return now.filter((one) => isSelected(`${folder}/${one.name}`) && isSo(one))
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

/** Has those files written anew, where somebody keeps them, and closes the findings about those that are right then. */
async function haveMended(library: Library, sums: readonly WrongSums[], options: WalkOptions): Promise<void> {
  for (const { folder } of sums) {
    const originals = await listFolder(library.db, folder)
    const isRight = await library.describe(async (isDescribed) => {
      return isDescribed && (await disagreementsIn(library, folder, originals, true, options)).length === 0
    })
    if (!isRight) continue
    await healFindings(library.db, LIBRARY, ['sums'], [pathIn(folder, SUMS_FILE)], BY_SERVER, library.now())
  }
}

function isLookedAt(path: string, options: WalkOptions): boolean {
  return isInside(path, options) && options.isSelected(path)
}

function isInside(path: string, { isWithin }: WalkOptions): boolean {
  return isWithin(splitPath(path).folder as MonthFolder)
}
