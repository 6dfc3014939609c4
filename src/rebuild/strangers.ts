import type { Library } from '../archive/library.ts'
import { LARGEST_ORIGINAL } from '../base/budgets.ts'
import { ifReadable } from '../base/if-readable.ts'
import { findCatalogued } from '../catalogue/files.ts'
import { addUnread, listFolder, type Stranger } from '../catalogue/folders.ts'
import { AppError } from '../errors.ts'
import { type LibraryPath, type MonthFolder, pathIn } from '../format/layout.ts'
import { strangeNames } from '../format/strange-names.ts'
import { type EntryFacts, entryOf, type FileFacts, listMonthFolders, listNames } from '../storage/month-folders.ts'
import { flushOriginal, stateOf } from '../storage/originals.ts'

export interface AdoptOptions {
  /** Hears of a folder or file that could not be looked at, and is left alone. */
  reportTrouble: (path: string, error: AppError) => void
  signal: AbortSignal
}

/** What was adopted. */
export interface Adopted {
  files: number
  bytes: number
}

/** What was touched longer ago than this the system has written to the drive by itself. */
const WRITTEN_MS = 10 * 60_000
/** Files looked at at once, and recorded in one statement. */
const PORTION = 500

/**
 * Adopts the files in the library's month folders that the catalogue does not have, as originals that are still to be
 * read: whoever put them there, a phone that sends one again is told that it is there. Asks the drive for the names of
 * all files, and for more about strangers alone. What an upload is about to record is none. Throws `drive_missing`,
 * `database_unavailable`.
 */
export async function adoptStrangers(library: Library, options: AdoptOptions): Promise<Adopted> {
  const adopted: Adopted = { files: 0, bytes: 0 }
  for (const folder of await listMonthFolders(library.drive)) {
    options.signal.throwIfAborted()
    const paths = await ifReadable(findStrangers(library, folder), (error) => options.reportTrouble(folder, error))
    await adopt(library, paths ?? [], options, adopted)
  }
  return adopted
}

/**
 * Of what failed uploads have left, what is in the catalogue by now, or is not on the drive, need not be remembered any
 * more.
 */
export async function settleAdopted({ db, drive, names, unrecorded }: Library): Promise<void> {
  // What it says of strangers holds no longer.
  names.forget()
  const left = unrecorded.left()
  const paths = left.map(({ path }) => path)
  const catalogued = await findCatalogued(db, paths)
  const states = await Promise.all(paths.map((path) => stateOf(drive, path)))
  // Gone with the drive is not gone from it.
  await drive.check()
  for (const [index, { checksum, path }] of left.entries()) {
    if (catalogued.has(path) || states[index] === 'absent') unrecorded.settleLeft(checksum)
  }
}

async function findStrangers(library: Library, folder: MonthFolder): Promise<LibraryPath[]> {
  // The names first: what is recorded in between must not look like a stranger.
  const names = await listNames(library.drive, folder)
  const coming = library.unrecorded.comingTo(folder)
  const known = (await listFolder(library.db, folder, { isDirect: true })).map(({ name }) => name)
  return strangeNames(names, [...coming, ...known]).map((name) => pathIn(folder, name))
}

/** Adopts those of `paths` that are files. */
async function adopt(
  library: Library,
  paths: readonly LibraryPath[],
  options: AdoptOptions,
  adopted: Adopted,
): Promise<void> {
  for (let start = 0; start < paths.length; start += PORTION) {
    options.signal.throwIfAborted()
    const portion = paths.slice(start, start + PORTION)
    const facts = await Promise.all(
      portion.map((path) => ifReadable(entryOf(library.drive, path), (error) => options.reportTrouble(path, error))),
    )
    const strangers = new Map<string, Stranger>()
    for (const [index, path] of portion.entries()) {
      const file = facts[index]
      if (file === undefined) continue
      if (file.kind !== 'a file') options.reportTrouble(path, noFile(path, file.kind))
      else if (file.size > LARGEST_ORIGINAL) options.reportTrouble(path, tooLarge(path))
      else if (await isDurable(library, path, file, options))
        strangers.set(path, { path, size: file.size, storedAt: plausible(file.writtenAt, library.now()) })
    }
    const added = await addUnread(library.db, [...strangers.values()])
    adopted.files += added.length
    for (const path of added) adopted.bytes += strangers.get(path)?.size ?? 0
  }
}

function noFile(path: string, kind: EntryFacts['kind']): AppError {
  return new AppError('drive_error', `${path} is ${kind} and lies among the photos. It is left alone: remove it.`)
}

function tooLarge(path: string): AppError {
  return new AppError(
    'drive_error',
    `${path} is larger than ${LARGEST_ORIGINAL} bytes, which no photo or video is. It is left alone: remove it.`,
  )
}

/** Phones will be told that it is there, so it must stay there; whoever has put it there may not have flushed it. */
async function isDurable(
  library: Library,
  path: LibraryPath,
  file: FileFacts,
  options: AdoptOptions,
): Promise<boolean> {
  if (library.now().getTime() - file.touchedAt.getTime() > WRITTEN_MS) return true
  const flush = async () => {
    await flushOriginal(library.drive, path)
    await library.committer.settle(path)
    return true
  }
  return (await ifReadable(flush(), (error) => options.reportTrouble(path, error))) ?? false
}

/** Anybody can write anything into the times of a file. */
function plausible(time: Date, now: Date): Date {
  return time.getTime() > 0 && time.getTime() < now.getTime() ? time : now
}
