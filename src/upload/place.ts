import type { Library } from '../archive/library.ts'
import { ifReadable } from '../base/if-readable.ts'
import { findOriginal } from '../catalogue/verification.ts'
import { hasCode } from '../errors.ts'
import { type LibraryPath, pathIn } from '../format/layout.ts'
import { checksumOf, flushOriginal, stateOf } from '../storage/originals.ts'
import type { Staged } from '../storage/staging.ts'
import { sizesOf } from './sizes.ts'
import type { Wish } from './wish.ts'

/**
 * Gives a staged original its permanent place and returns its path, durable. If a file of the very same bytes lies on
 * the drive and the catalogue does not know it (this server was killed, or lost its database, before it could record
 * it), that one is taken instead, whatever its name: those that this server remembers, and those in the same folder.
 * Returns `again` if the catalogue has learnt of such a file since it was asked.
 */
export async function commitOriginal(library: Library, staged: Staged, wish: Wish): Promise<LibraryPath | 'again'> {
  const path = (await findRemembered(library, staged)) ?? (await takePlace(library, staged, wish))
  if (path === 'again') return 'again'
  await library.committer.settle(path).catch((error: unknown) => {
    // The name has been given back, or is in doubt: the next look at the folder tells.
    library.names.forget()
    throw error
  })
  return path
}

async function findRemembered(library: Library, staged: Staged) {
  const { drive, names, unrecorded } = library
  const path = unrecorded.find(staged.checksum)
  if (path === undefined) return undefined
  if ((await stateOf(drive, path)) !== 'absent') return findUnrecorded(library, staged, [path])
  // Gone with the drive is not gone from it.
  await drive.check()
  // The name was given back, since its flush had failed, or a person has taken the file away: it may be taken anew.
  unrecorded.settle(staged.checksum)
  names.forget()
  return undefined
}

async function takePlace(library: Library, staged: Staged, wish: Wish): Promise<LibraryPath | 'again'> {
  const { committer, names, locks } = library
  await committer.makeFolder(wish.folder)
  return locks.folder.run(wish.folder, async () => {
    const strangers = (await names.strangers(wish.folder)).map((name) => pathIn(wish.folder, name))
    return (await findUnrecorded(library, staged, strangers)) ?? takeName(library, staged, wish)
  })
}

async function takeName(library: Library, staged: Staged, wish: Wish): Promise<LibraryPath> {
  const { committer, names, unrecorded } = library
  for (;;) {
    const name = await freeName(library, wish)
    const path = pathIn(wish.folder, name)
    unrecorded.note(staged.checksum, path)
    try {
      await committer.takeName(staged.path, path)
      await names.noteTaken(wish.folder, name)
      return path
    } catch (error) {
      if (!hasCode(error, 'name_taken')) throw error
      unrecorded.settle(staged.checksum)
      // Somebody else took it just now, or the drive knows two names for one that look different to us.
      await names.noteRefused(wish.folder, name)
    }
  }
}

async function freeName({ names }: Library, { folder, name, preferred, wholeStem }: Wish): Promise<string> {
  if (preferred !== null && (await names.isFree(folder, preferred))) return preferred
  return names.firstFree(folder, name, wholeStem)
}

/**
 * The first of `paths` with the same bytes as `staged` that the catalogue does not have, made durable; `again` if the
 * catalogue has one of them by now.
 */
async function findUnrecorded(
  library: Library,
  staged: Staged,
  paths: readonly LibraryPath[],
): Promise<LibraryPath | 'again' | undefined> {
  const { db, drive } = library
  const sizes = await sizesOf(drive, paths)
  let isCatalogued = false
  for (const path of paths.filter((one) => sizes.get(one) === staged.size)) {
    if ((await ifReadable(checksumOf(drive, path, staged.size))) !== staged.checksum) continue
    const known = await findOriginal(db, path)
    if (known !== undefined) {
      // Adopted meanwhile: the next look-up has it, by its content or as one that is to be read.
      const isUnread = known.checksum === null && !known.isLost && known.size === staged.size
      isCatalogued ||= isUnread || known.checksum === staged.checksum
      continue
    }
    // Without that it may be lost, and a second flush would "succeed": our own copy is kept as well.
    const isFlushed = await ifReadable(flushOriginal(drive, path).then(() => true))
    if (isFlushed === true) return path
  }
  return isCatalogued ? 'again' : undefined
}
