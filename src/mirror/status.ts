import type { Library } from '../archive/library.ts'
import { type Backlog, findBacklog } from '../catalogue/copies.ts'
import { findMirrorAt, type PlaceId } from '../catalogue/places.ts'
import { AppError, hasErrno, inFull } from '../errors.ts'
import { Drive } from '../storage/drive.ts'
import { MIRROR_DRIVE } from '../storage/drive-role.ts'
import { areOnOneDevice } from '../storage/one-device.ts'
import { diskUsage } from '../storage/space.ts'

/**
 * How a second copy is: `ok` has everything; `behind` is on its way; `missing` is not there; `full`
 * has no room for some photos; `error` could not take some, and is tried again.
 */
export type MirrorState = 'ok' | 'behind' | 'missing' | 'full' | 'error'

export interface MirrorStatus {
  /** Absolute. */
  folder: string
  state: MirrorState
  /** What is wrong and what to do, as a sentence; null if nothing is. */
  reason: string | null
  /** What the mirror does not have yet. */
  backlog: Backlog
  /** Whether library and mirror lie on one physical device, and would be lost together. */
  isOnOneDevice: boolean
}

/** What keeps the mirror from being up to date. */
export interface MirrorTrouble {
  state: 'missing' | 'full' | 'error'
  reason: string
}

/** What an error says about the mirror. */
export function troubleOf(error: AppError): MirrorTrouble {
  const { code } = error
  if (code === 'mirror_missing') return { state: 'missing', reason: inFull(error) }
  return { state: code === 'disk_full' ? 'full' : 'error', reason: `The second copy: ${inFull(error)}` }
}

/** Puts together what is known of the mirror in the folder `root`. */
export async function describe(
  library: Library,
  root: string,
  trouble: MirrorTrouble | undefined,
  backlog: Backlog,
): Promise<MirrorStatus> {
  const isOnOneDevice = trouble?.state !== 'missing' && (await isOneDevice(library.drive.root, root))
  if (trouble !== undefined) return { folder: root, ...trouble, backlog, isOnOneDevice }
  return { folder: root, state: backlog.files > 0 ? 'behind' : 'ok', reason: null, backlog, isOnOneDevice }
}

/**
 * Looks how the mirror is from outside the server that keeps it: what only that one knows (such as what a drive
 * refused) is not told. `folders` are those of all mirrors that are wanted. Throws `database_unavailable`.
 */
export async function mirrorStatus(
  library: Library,
  root: string,
  minFreeSpace: number,
  folders: readonly string[] = [root],
): Promise<MirrorStatus> {
  const backlog = await backlogOf(library, (await findMirrorAt(library.db, root, folders))?.id)
  return describe(library, root, await troubleIn(library, root, folders, minFreeSpace, backlog), backlog)
}

/** What a mirror lacks; one that is not known yet lacks everything. */
export function backlogOf(library: Library, place: PlaceId | undefined): Promise<Backlog> {
  return findBacklog(library.db, place ?? null, library.now())
}

/** The same of all that are wanted. */
export function mirrorStatuses(
  library: Library,
  { mirrorFolders, minFreeSpace }: { mirrorFolders: readonly string[]; minFreeSpace: number },
): Promise<MirrorStatus[]> {
  return Promise.all(mirrorFolders.map((root) => mirrorStatus(library, root, minFreeSpace, mirrorFolders)))
}

async function troubleIn(
  library: Library,
  root: string,
  folders: readonly string[],
  minFreeSpace: number,
  backlog: Backlog,
): Promise<MirrorTrouble | undefined> {
  try {
    const { drive } = await openMirrorDrive(library, root, folders)
    await drive.checkWritable()
    if (backlog.files === 0 || (await diskUsage(drive)).free > minFreeSpace) return undefined
    return { state: 'full', reason: 'The drive with the second copy is full. Make room on it or use a larger one.' }
  } catch (error) {
    if (!(error instanceof AppError) || error.code === 'database_unavailable') throw error
    return troubleOf(error)
  }
}

/**
 * The mirror that the catalogue knows for the folder `root`, and its drive, which is there. Throws `mirror_missing`,
 * `drive_error`.
 */
export async function openMirrorDrive(
  library: Library,
  root: string,
  folders: readonly string[] = [root],
): Promise<{ place: PlaceId; drive: Drive }> {
  const mirror = await findMirrorAt(library.db, root, folders)
  if (mirror === undefined) {
    throw new AppError(
      'mirror_missing',
      'There is no second copy yet. Start the server with MIRROR_FOLDER to have one.',
    )
  }
  const drive = new Drive(root, mirror.identity, { onMissing: () => {}, onReturned: () => {} }, MIRROR_DRIVE)
  await drive.check()
  return { place: mirror.id, drive }
}

/**
 * Why the folder `root`, which is there, may be the wrong place for a second copy; `undefined` if nothing is to be said
 * against it.
 */
export async function doubtAboutPlace(library: Library, root: string): Promise<string | undefined> {
  if (await isOneDevice(library.drive.root, root)) {
    return 'The second copy is on the same drive as the library: when that drive fails, both are lost. Set MIRROR_FOLDER to a folder on another one.'
  }
  if (process.platform !== 'win32' && (await isOneDevice('/', root))) {
    return 'The second copy is on the system disk. If it should be on a drive of its own, stop the server, move the folder there and mount it; or correct MIRROR_FOLDER.'
  }
  return undefined
}

async function isOneDevice(folder: string, other: string): Promise<boolean> {
  try {
    return await areOnOneDevice(folder, other)
  } catch (error) {
    if (hasErrno(error)) return false
    throw error
  }
}

/** Those of `all` that `open` can open. `onAway` hears why another could not; what is not about it is thrown. */
export async function thoseThere<Wanted, Opened>(
  all: readonly Wanted[],
  onAway: (reason: AppError) => void,
  open: (one: Wanted) => Promise<Opened>,
): Promise<Opened[]> {
  const opened: Opened[] = []
  for (const one of all) {
    try {
      opened.push(await open(one))
    } catch (error) {
      if (!(error instanceof AppError) || error.code === 'database_unavailable') throw error
      onAway(error)
    }
  }
  return opened
}
