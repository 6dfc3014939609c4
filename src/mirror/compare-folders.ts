import { setTimeout } from 'node:timers/promises'
import { ifReadable } from '../base/if-readable.ts'
import { copiesIn } from '../catalogue/copies.ts'
import { findCatalogued } from '../catalogue/files.ts'
import { healFindings, listOpenPaths, type NewFinding, recordFindings } from '../catalogue/findings.ts'
import { listFolder } from '../catalogue/folders.ts'
import { doubtCopySums } from '../catalogue/outbox.ts'
import { isMonthFolder, type LibraryPath, type MonthFolder, pathIn, SUMS_FILE, splitPath } from '../format/layout.ts'
import { strangeNames } from '../format/strange-names.ts'
import type { Checksum } from '../media/checksum.ts'
import { type EntryFacts, entryOf, listMonthFolders, listNames } from '../storage/month-folders.ts'
import { readSums } from '../storage/read-sums.ts'
import { compareSums, type Disagreement } from '../verify/compare-sums.ts'
import type { Mirror } from './mirror.ts'

export interface ComparisonOptions {
  /** Which folders and files are looked at. */
  isWithin: (folder: MonthFolder) => boolean
  isSelected: (path: string) => boolean
  /** Whether this process keeps the mirror, or nobody does: then it may write there. */
  canRepair: boolean
  /** Awaited before each folder. */
  pause: () => Promise<void>
  signal: AbortSignal
}

/** What is copied just now is made known within this time, and a server mends what it has just changed. */
const SETTLED_MS = 3_000
const UNREADABLE: Disagreement = { name: SUMS_FILE, expected: null, found: null }
const OVER = 'somebody, since it was found'
const REWRITTEN = 'a new SHA256SUMS'

/**
 * Compares the mirror's month folders with the catalogue: records a finding for each file there that the catalogue does
 * not have and each SHA256SUMS that disagrees with the copies, which is then replaced, by whoever keeps the mirror, and
 * closes those that no longer hold. What is wrong is looked at once more after a while: something may be on its way.
 * Returns the ids of the findings. Throws `mirror_missing`, `drive_error`, `database_unavailable`, and what `pause`
 * throws.
 */
export async function compareFolders(mirror: Mirror, options: ComparisonOptions): Promise<number[]> {
  const doubtful: MonthFolder[] = []
  for (const folder of (await listMonthFolders(mirror.drive)).filter(options.isWithin)) {
    await options.pause()
    const { unknown, disagreements } = await lookInto(mirror, folder, options)
    if (unknown.length > 0 || disagreements.length > 0) doubtful.push(folder)
  }
  if (doubtful.length > 0) await setTimeout(SETTLED_MS, undefined, { signal: options.signal })
  const findings: NewFinding[] = []
  const wrong: { folder: MonthFolder; copies: ReadonlyMap<string, Checksum> }[] = []
  for (const folder of doubtful) {
    await options.pause()
    const { unknown, disagreements, copies } = await lookInto(mirror, folder, options)
    for (const { path, kind } of unknown) {
      const found = kind === 'a file' ? null : kind
      findings.push({ place: mirror.place, kind: 'unknown', path, expected: null, found })
    }
    const [first] = disagreements
    if (first === undefined) continue
    wrong.push({ folder, copies })
    findings.push(sumsFinding(mirror, folder, first))
  }
  await closeOthers(mirror, findings, options)
  const ids = await recordFindings(mirror.library.db, findings, mirror.library.now())
  if (options.canRepair) for (const { folder, copies } of wrong) await repair(mirror, folder, copies)
  else
    await doubtCopySums(
      mirror.library.db,
      wrong.map(({ folder }) => folder),
    )
  return ids
}

interface Unknown extends Pick<EntryFacts, 'kind'> {
  path: LibraryPath
}

/** What a folder has that the catalogue does not, where its SHA256SUMS disagrees, and what it should say. */
async function lookInto(
  { drive, library, place }: Mirror,
  folder: MonthFolder,
  { isSelected }: ComparisonOptions,
): Promise<{ unknown: Unknown[]; disagreements: Disagreement[]; copies: ReadonlyMap<string, Checksum> }> {
  const { db } = library
  // Before the sums: a copy has its line before it has its row.
  const copies = new Map((await copiesIn(db, place, folder)).map(({ name, checksum }) => [name, checksum]))
  const names = await listNames(drive, folder)
  const sums = await ifReadable(readSums(drive, folder).then((parsed) => ({ parsed })))
  // What has no copy yet may have a line, and a file that is about to become one.
  const originals = (await listFolder(db, folder)).map((original) => {
    return { ...original, checksum: copies.get(original.name) ?? null, storedAt: null, isLost: false }
  })
  const strange = strangeNames(
    names,
    originals.map(({ name }) => name),
  )
  const paths = strange.map((name) => pathIn(folder, name)).filter(isSelected)
  const catalogued = await findCatalogued(db, paths)
  const entries = await Promise.all(
    paths.map(async (path) => ({ path, kind: (await ifReadable(entryOf(drive, path)))?.kind })),
  )
  const disagreements = sums === undefined ? [UNREADABLE] : compareSums(sums.parsed, originals, names, library.now())
  return {
    unknown: entries.flatMap(({ path, kind }) => (kind === undefined || catalogued.has(path) ? [] : { path, kind })),
    disagreements: disagreements.filter(({ name }) => isSelected(`${folder}/${name}`)),
    copies,
  }
}

function sumsFinding({ place }: Mirror, folder: MonthFolder, { name, expected, found }: Disagreement): NewFinding {
  const line = (sum: string | null) => (sum === null ? null : `${sum}  ${name}`)
  return { place, kind: 'sums', path: pathIn(folder, SUMS_FILE), expected: line(expected), found: line(found) }
}

/** Closes findings about what was looked at and is well. */
async function closeOthers(
  { library, place }: Mirror,
  findings: readonly NewFinding[],
  { isWithin, isSelected }: ComparisonOptions,
): Promise<void> {
  for (const kind of ['unknown', 'sums'] as const) {
    const present = new Set(findings.filter((finding) => finding.kind === kind).map(({ path }) => path))
    const isLookedAt = (path: string) => {
      const { folder } = splitPath(path)
      return isMonthFolder(folder) && isWithin(folder) && (kind === 'sums' || isSelected(path))
    }
    const open = await listOpenPaths(library.db, place, kind, '')
    const over = open.filter((path) => isLookedAt(path) && !present.has(path))
    await healFindings(library.db, place, [kind], over, OVER, library.now())
  }
}

async function repair(
  { sums, library, place }: Mirror,
  folder: MonthFolder,
  copies: ReadonlyMap<string, Checksum>,
): Promise<void> {
  await sums.repair(folder, copies)
  const path = pathIn(folder, SUMS_FILE)
  await healFindings(library.db, place, ['sums'], [path], REWRITTEN, library.now())
}
