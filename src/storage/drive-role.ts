import { AppError, type ErrorCode, hasErrno } from '../errors.ts'
import { Root } from './entry.ts'
import { type LibraryFile, readLibraryFile } from './identity.ts'
import { io } from './io.ts'
import { unmountedPlace, type Whereabouts } from './whereabouts.ts'

/** What a drive is to the household, in the words in which its absence is told. */
export interface DriveRole {
  /** The code of the error. */
  missing: ErrorCode
  name: string
  /** What to do where nothing else is found in its place. */
  advice: string
  /** The setting that says where it is. */
  setting: string
  /** Where it was when it was last there; `undefined` if that is not known. */
  lastSeen?: Whereabouts | undefined
}

/** The drive with the library, last seen at `lastSeen`. */
export function libraryDrive(lastSeen?: Whereabouts): DriveRole {
  return {
    missing: 'drive_missing',
    name: 'The drive with the photo library',
    advice: 'Connect and mount it; uploads go on by themselves when it is back.',
    setting: 'UPLOAD_FOLDER',
    lastSeen,
  }
}

/** The drive with the second copy. */
export const MIRROR_DRIVE: DriveRole = {
  missing: 'mirror_missing',
  name: 'The drive with the second copy',
  advice:
    'Connect and mount it; copying goes on by itself when it is back. ' +
    'If another drive shall take its place for good, run `npm run iclood -- mirror --replace`.',
  setting: 'MIRROR_FOLDER',
}

/**
 * Says that the library `id` of that role is not in the folder `root`, what is there instead, and what to do. System
 * errors pass.
 */
export async function missingDrive(role: DriveRole, root: string, id: string): Promise<AppError> {
  const { setting, lastSeen } = role
  const file = await readLibraryFile(root)
  if (file !== undefined && file.id !== id) return otherLibrary(role, root, id, file)
  const { found, isFree } = await describeFolder(root, role)
  if (lastSeen === undefined || lastSeen.folder === root || !isFree) return notThere(role, root, found)
  return new AppError(
    role.missing,
    `${role.name} is not there: ${found}, and the photos lie in the folder that it named before. ` +
      `Set ${setting} to that one again; or, to move them, stop the server, copy that folder with all that is in it, ` +
      '.iclood included, to the new place, and start the server.',
    {
      detail:
        `They were last seen in ${lastSeen.folder}. ` +
        `To move them: cp -a ${quoted(`${lastSeen.folder}/.`)} ${quoted(root)}`,
      cause: new Error(`there is no library in ${root}; it was last seen in ${lastSeen.folder}`),
    },
  )
}

/**
 * Throws, as that role is told missing, if a library made in the folder `root` would lie in the place of a drive that
 * is not mounted. System errors pass.
 */
export async function refuseUnmounted(role: DriveRole, root: string): Promise<void> {
  if ((await unmountedPlace(root, role.lastSeen)) === undefined) return
  throw notThere(role, root, (await describeFolder(root, role)).found)
}

/** `found` completes "The drive is not there: …". */
function notThere(role: DriveRole, root: string, found: string): AppError {
  const { missing, name, advice, setting, lastSeen } = role
  const elsewhere =
    lastSeen === undefined || lastSeen.folder === root ? '' : ` The photos were last seen in ${lastSeen.folder}.`
  return new AppError(missing, `${name} is not there: ${found}. ${advice}`, {
    detail: `${setting} is ${root}.${elsewhere}`,
    cause: new Error(`there is no library in ${root}`),
  })
}

function otherLibrary(role: DriveRole, root: string, id: string, { id: other, mirrorOf }: LibraryFile): AppError {
  if (mirrorOf === id) return secondCopyInPlace(root, { id: other }, id)
  const { setting, lastSeen, missing, name } = role
  const what = mirrorOf === null ? 'another library' : 'the second copy of a library'
  const where = lastSeen === undefined ? '' : ` The photos were last seen in ${lastSeen.folder}.`
  return new AppError(
    missing,
    `${name} is not there: the folder that ${setting} names holds ${what} (${other}). ` +
      `Connect the right drive (${id}), or correct ${setting}; nothing is written to the other one.`,
    {
      detail: `${setting} is ${root}.${where}`,
      cause: new Error(`${root} holds the library ${other}, not ${id}`),
    },
  )
}

/**
 * Says that the second copy `mirror` of the library `id` lies in the library's place, the folder `root`: by mistake, or
 * for good.
 */
export function secondCopyInPlace(root: string, mirror: Pick<LibraryFile, 'id'>, id: string): AppError {
  return new AppError(
    'drive_missing',
    'The drive under UPLOAD_FOLDER is the second copy of the photo library, not the library itself. ' +
      'Connect the drive with the library; or, if that one is lost, run `npm run iclood -- rebuild` to go ' +
      'on with this one in its place.',
    {
      detail: `UPLOAD_FOLDER is ${root}.`,
      cause: new Error(`${root} holds the mirror ${mirror.id} of the library ${id}`),
    },
  )
}

/**
 * What is in the folder `root`, which holds no library, as a part of a sentence; and whether one could be copied there.
 */
async function describeFolder(
  root: string,
  { setting, lastSeen }: DriveRole,
): Promise<{ found: string; isFree: boolean }> {
  if ((await unmountedPlace(root, lastSeen)) !== undefined) {
    return { found: `no drive is mounted where ${setting} leads to`, isFree: false }
  }
  const names = await listNames(root)
  if (names === undefined) return { found: `the folder that ${setting} names does not exist`, isFree: true }
  // What the file system itself puts there.
  if (names.every((name) => name === 'lost+found')) {
    return { found: `the folder that ${setting} names is empty`, isFree: true }
  }
  return { found: `the folder that ${setting} names holds other things, but no photo library`, isFree: false }
}

/** `undefined` if there is no such folder. */
async function listNames(folder: string): Promise<string[] | undefined> {
  try {
    return await io.list(new Root(folder).at(''))
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined
    if (hasErrno(error, 'ENOTDIR')) return [folder]
    throw error
  }
}

/** As a shell takes it for one word. */
function quoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`
}
