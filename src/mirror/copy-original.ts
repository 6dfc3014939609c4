import { LARGEST_ORIGINAL } from '../base/budgets.ts'
import { ifReadable } from '../base/if-readable.ts'
import type { CopyWanted } from '../catalogue/copies.ts'
import { AppError, hasCode } from '../errors.ts'
import { type LibraryPath, parseLibraryPath, splitPath } from '../format/layout.ts'
import { copyInto, SourceError } from '../storage/copy.ts'
import { driveError } from '../storage/drive-error.ts'
import { io } from '../storage/io.ts'
import { lookAt } from '../storage/look-at.ts'
import { flushOriginal, versionOf } from '../storage/originals.ts'
import { quarantine } from '../storage/quarantine.ts'
import { type Staged, StagedFile } from '../storage/staging.ts'
import type { Mirror } from './mirror.ts'

type Pause = () => Promise<void>

/**
 * Copies an original from the library to the same path on the mirror. When it returns, the copy would survive a power
 * cut and has been read back from the drive; no row says so yet. What lies there already is taken for the copy if it
 * has the same bytes, and moved to the mirror's quarantine if not. `pause` is awaited between chunks.
 *
 * Throws `SourceError` if the library does not have the original intact, `mirror_missing`, `disk_full`, `drive_error`,
 * or `name_taken` if the mirror takes the name for that of another original (in another case).
 */
export async function copyOriginal(mirror: Mirror, wanted: CopyWanted, pause?: Pause): Promise<void> {
  const path = parseLibraryPath(wanted.path)
  await mirror.drive.check()
  if (await isThere(mirror, path, wanted, pause)) return
  const file = new StagedFile(mirror.drive, await mirror.space.reserve(wanted.size ?? 0), mirror.library.hasher)
  try {
    await copyInto(file, mirror.library.drive, path, { limit: wanted.size ?? LARGEST_ORIGINAL, pause })
    const staged = await file.finish()
    if (staged.checksum !== wanted.checksum) throw new SourceError(damaged(path, staged, wanted))
    await staged.durable
    await readBack(mirror, staged, pause)
    await mirror.committer.makeFolder(splitPath(path).folder)
    await takePlace(mirror, staged, path, wanted)
  } finally {
    await file.discard()
  }
}

/**
 * Whether the copy lies at `path` already; made durable. Whatever else lies there is moved to quarantine, but nothing
 * that has come since: a command beside the server may have put back the same copy.
 */
async function isThere(mirror: Mirror, path: LibraryPath, wanted: CopyWanted, pause?: Pause): Promise<boolean> {
  const before = await versionOf(mirror.drive, path)
  if (before === undefined) return false
  const { size } = before
  if (before.strange === null && size === (wanted.size ?? size)) {
    const found = await ifReadable(hash(mirror, path, size, pause))
    // What the drive fails to flush it may have dropped, and a second flush would only seem to succeed.
    const isFlushed =
      found === wanted.checksum && (await ifReadable(flushOriginal(mirror.drive, path).then(() => true)))
    if (isFlushed === true) {
      await mirror.committer.settle(path)
      return true
    }
  }
  if ((await versionOf(mirror.drive, path))?.version === before.version) await clearPlace(mirror, path)
  return false
}

/** What was written is compared on the drive before it gets a name: a copy that no drive would give back is none. */
async function readBack(mirror: Mirror, staged: Staged, pause?: Pause): Promise<void> {
  const found = await hash(mirror, staged.path, staged.size, pause)
  if (found === staged.checksum) return
  throw new AppError(
    'drive_error',
    `The drive with the second copy gave back other bytes than were written to it (SHA-256 ${found}, expected ${staged.checksum}). Check its cable and its health.`,
  )
}

async function takePlace(mirror: Mirror, staged: Staged, path: LibraryPath, wanted: CopyWanted): Promise<void> {
  try {
    await mirror.committer.takeName(staged.path, path)
  } catch (error) {
    if (!hasCode(error, 'name_taken')) throw error
    // Somebody was quicker: perhaps a command beside the server, with the same copy.
    if (await isThere(mirror, path, wanted)) return
    await mirror.committer.takeName(staged.path, path)
  }
  await mirror.committer.settle(path)
}

/**
 * Moves to quarantine what lies at `path`, if anything does. But what answers to the name and is listed under another
 * one is another original's copy, on a drive that does not tell upper from lower case: throws `name_taken`.
 */
async function clearPlace(mirror: Mirror, path: LibraryPath): Promise<void> {
  const { folder, name } = splitPath(path)
  try {
    if ((await lookAt(mirror.drive.at(path))) === undefined) return
  } catch (error) {
    throw driveError(error, `${path} was being looked for`)
  }
  const names = await listed(mirror, folder)
  if (!names.some((listed) => listed.normalize('NFC') === name.normalize('NFC'))) {
    throw new AppError(
      'name_taken',
      `The drive with the second copy can't hold ${path}: another photo there has this name in upper or lower case. Use a file system that tells them apart, such as ext4.`,
    )
  }
  await quarantine(mirror.drive, path, mirror.library.now())
}

async function listed(mirror: Mirror, folder: string): Promise<string[]> {
  try {
    return await io.list(mirror.drive.at(folder))
  } catch (error) {
    throw driveError(error, `the folder ${folder} was being listed`)
  }
}

async function hash({ reader }: Mirror, path: string, size: number, pause?: Pause): Promise<string> {
  try {
    return (await reader.hash(path, size, { pause, limit: size })).checksum
  } catch (error) {
    throw driveError(error, `${path} was being read back`)
  }
}

function damaged(path: LibraryPath, found: Staged, { checksum }: CopyWanted): AppError {
  return new AppError(
    'drive_error',
    `${path} in the library is not what was stored: SHA-256 ${found.checksum}, expected ${checksum}.`,
  )
}
