import type { Library } from '../archive/library.ts'
import type { Candidate, Lost, Source } from '../archive/source.ts'
import { LARGEST_ORIGINAL } from '../base/budgets.ts'
import { findLost, findTwins, type Twin } from '../catalogue/losses.ts'
import { findOriginal, listLost, type Selection } from '../catalogue/verification.ts'
import { hasCode, isAboutFile } from '../errors.ts'
import { type LibraryPath, parseLibraryPath } from '../format/layout.ts'
import type { Checksum } from '../media/checksum.ts'
import { copyInto, SourceError } from '../storage/copy.ts'
import { StagedFile } from '../storage/staging.ts'
import type { Unknown } from './folders.ts'
import { putBack } from './put-back.ts'

/**
 * Tries to put a lost original back from where its content is still intact: on the drive, at one of the library's
 * `sources`, at one of the `further` places that only the caller knows of. Returns whether that was done. What it is
 * copied from stays as it is. `pause` is awaited between chunks of 1 MiB. Throws `drive_missing` and
 * `database_unavailable`; a drive that can't take the copy heals nothing.
 */
export async function heal(
  library: Library,
  path: LibraryPath,
  { further = [], pause }: { further?: readonly Candidate[]; pause?: (() => Promise<void>) | undefined } = {},
): Promise<boolean> {
  const lost = await findKnownLost(library, path)
  if (lost === undefined) return false
  const sources: Source[] = [(one) => onTheDrive(library, one), ...library.sources, async () => further]
  for (const source of sources) {
    for (const candidate of await source(lost)) {
      if (await copyBack(library, lost, candidate, pause)) return true
    }
  }
  return false
}

/**
 * Tries to put back whatever lost originals have that content: something has turned up. Returns how many that healed.
 */
export async function healContent(library: Library, checksum: Checksum, pause?: () => Promise<void>): Promise<number> {
  let healed = 0
  for (const path of await findLost(library.db, checksum)) {
    if (await heal(library, parseLibraryPath(path), { pause })) healed++
  }
  return healed
}

/**
 * Puts lost originals back whose content lies, under another name, among the files that the catalogue does not have.
 */
export async function healFromUnknown(
  library: Library,
  unknown: readonly Unknown[],
  selection: Selection,
  pause: () => Promise<void>,
): Promise<void> {
  if (unknown.length === 0) return
  const bySize = new Map<number, Unknown[]>()
  for (const one of unknown.filter(({ kind }) => kind === 'a file')) {
    const others = bySize.get(one.size)
    if (others === undefined) bySize.set(one.size, [one])
    else others.push(one)
  }
  for (const lost of await listLost(library.db, selection)) {
    const further = (lost.size === null ? [] : (bySize.get(lost.size) ?? [])).map(({ path }) => {
      return { drive: library.drive, path, name: `the same photo, found as ${path}` }
    })
    if (further.length > 0) await heal(library, parseLibraryPath(lost.path), { further, pause })
  }
}

async function findKnownLost(library: Library, path: LibraryPath): Promise<Lost | undefined> {
  const original = await findOriginal(library.db, path)
  if (original === undefined || !original.isLost || original.checksum === null) return undefined
  return { path, checksum: original.checksum, size: original.size }
}

/** Other originals with the same content, and what was found to have it when it was moved to quarantine. */
async function onTheDrive(library: Library, lost: Lost): Promise<Candidate[]> {
  const twins = await findTwins(library.db, lost.path, lost.checksum)
  const nameOf = ({ path, isQuarantined }: Twin) =>
    isQuarantined ? `the same content, found in the place of another photo (${path})` : `the same photo in ${path}`
  return twins.map((twin) => ({ drive: library.drive, path: twin.path, name: nameOf(twin) }))
}

async function copyBack(
  library: Library,
  lost: Lost,
  candidate: Candidate,
  pause?: () => Promise<void>,
): Promise<boolean> {
  try {
    const file = new StagedFile(library.drive, await library.space.reserve(lost.size ?? 0), library.hasher)
    try {
      await copyInto(file, candidate.drive, candidate.path, { limit: lost.size ?? LARGEST_ORIGINAL, pause })
      const staged = await file.finish()
      await staged.durable
      if (staged.checksum !== lost.checksum) return false
      return await putBack(library, staged, lost.path, candidate.name)
    } finally {
      await file.discard()
    }
  } catch (error) {
    if (isRefusal(error)) return false
    throw error
  }
}

/** The source can't be read, or the drive can't take it: then it is not healed from there. */
function isRefusal(error: unknown): boolean {
  return error instanceof SourceError || isAboutFile(error) || hasCode(error, 'space_promised')
}
