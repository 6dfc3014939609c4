import { ifReadable } from '../base/if-readable.ts'
import { copiesIn } from '../catalogue/copies.ts'
import { findCatalogued } from '../catalogue/files.ts'
import { healFindings, listOpenPaths, type NewFinding, recordFindings } from '../catalogue/findings.ts'
import { listFolder } from '../catalogue/folders.ts'
import { isMonthFolder, type LibraryPath, type MonthFolder, pathIn, SUMS_FILE, splitPath } from '../format/layout.ts'
import { strangeNames } from '../format/strange-names.ts'
import { type EntryFacts, entryOf, listMonthFolders, listNames } from '../storage/month-folders.ts'
import { readSums } from '../storage/read-sums.ts'
import { compareSums, type Disagreement } from '../verify/compare-sums.ts'
import type { Mirror } from './mirror.ts'

export interface ComparisonOptions {
  /** Which folders and files are looked at. */
  isWithin: (folder: MonthFolder) => boolean
  isSelected: (path: string) => boolean
  /** Awaited before each folder. */
  pause: () => Promise<void>
  signal: AbortSignal
}

const UNREADABLE: Disagreement = { name: SUMS_FILE, expected: null, found: null }
const OVER = 'somebody, since it was found'
const REWRITTEN = 'a new SHA256SUMS'

/**
 * Compares the mirror's month folders with the catalogue: records a finding for each file there that the catalogue does
 * not have and each SHA256SUMS that disagrees with the copies, which is then replaced, and closes those that no longer
 * hold. Returns the ids of the findings. Throws `mirror_missing`, `drive_error`, `database_unavailable`, and what
 * `pause` throws.
 */
export async function compareFolders(mirror: Mirror, options: ComparisonOptions): Promise<number[]> {
  const findings: NewFinding[] = []
  const wrong: MonthFolder[] = []
  for (const folder of (await listMonthFolders(mirror.drive)).filter(options.isWithin)) {
    await options.pause()
    const look = () => lookInto(mirror, folder, options)
    const first = await look()
    if (first.unknown.length + first.disagreements.length === 0) continue
    // Once more when whoever keeps the mirror has heard of all that the first look saw, and changes nothing.
    const looked = await mirror.library.describe(() => mirror.turn.run('', look))
    const { unknown, disagreements } = looked
    for (const { path, kind } of unknown.filter((one) => !mirror.isAwaited(one.path))) {
      const found = kind === 'a file' ? null : kind
      findings.push({ place: mirror.place, kind: 'unknown', path, expected: null, found })
    }
    const [disagreement] = disagreements
    if (disagreement === undefined) continue
    wrong.push(folder)
    findings.push(sumsFinding(mirror, folder, disagreement))
  }
  await closeOthers(mirror, findings, options)
  const ids = await recordFindings(mirror.library.db, findings, mirror.library.now())
  for (const folder of wrong) await repair(mirror, folder)
  return ids
}

interface Unknown extends Pick<EntryFacts, 'kind'> {
  path: LibraryPath
}

/** What a folder has that the catalogue does not, and where its SHA256SUMS disagrees. */
async function lookInto(
  { drive, library, place }: Mirror,
  folder: MonthFolder,
  { isSelected }: ComparisonOptions,
): Promise<{ unknown: Unknown[]; disagreements: Disagreement[] }> {
  const { db } = library
  // Before the sums: a copy has its line before it has its row.
  const copies = new Map((await copiesIn(db, place, folder)).map(({ name, checksum }) => [name, checksum]))
  const names = await listNames(drive, folder)
  const sums = await ifReadable(readSums(drive, folder).then((parsed) => ({ parsed })))
  // What has no copy yet may have a line, and a file that is about to become one.
  const originals = (await listFolder(db, folder)).map((original) => {
    return { ...original, checksum: copies.get(original.name) ?? null, isLost: false }
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
  const disagreements = sums === undefined ? [UNREADABLE] : compareSums(sums.parsed, originals, names)
  return {
    unknown: entries.flatMap(({ path, kind }) => (kind === undefined || catalogued.has(path) ? [] : { path, kind })),
    disagreements: disagreements.filter(({ name }) => isSelected(`${folder}/${name}`)),
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

async function repair({ sums, library, place, turn }: Mirror, folder: MonthFolder): Promise<void> {
  await turn.run('', async () => {
    const copies = await copiesIn(library.db, place, folder)
    await sums.repair(folder, new Map(copies.map(({ name, checksum }) => [name, checksum])))
  })
  const path = pathIn(folder, SUMS_FILE)
  await healFindings(library.db, place, ['sums'], [path], REWRITTEN, library.now())
}
