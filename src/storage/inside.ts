import fs, { type BigIntStats } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { AppError, hasErrno } from '../errors.ts'
import { splitPath } from '../format/layout.ts'
import { DESCRIPTORS, hasDescriptors, nameOf, O_PATH } from './descriptors.ts'
import { type Entry, type Expected, foldersAbove, lookForStrange, type Root } from './entry.ts'

const { constants } = fs
const lstat = promisify(fs.lstat)
const lstatBig = (path: string) => promisify(fs.lstat)(path, { bigint: true })
const fstat = promisify(fs.fstat)
const open = promisify(fs.open) as (path: string, flags: number) => Promise<number>

/** Windows has neither. */
const FOLDER = constants.O_RDONLY | (constants.O_DIRECTORY ?? 0) | (constants.O_NOFOLLOW ?? 0)
/** Neither follows a link nor waits for somebody to write into a pipe. */
const FILE = (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0)

/**
 * Calls `act` with a path for `entry` that leads to nowhere but that name in a real folder of the library, on the
 * library's own device, whoever swaps folders for links meanwhile: by way of the folder's descriptor, where the system
 * has such paths; elsewhere the folders are looked at before and after. Throws `StrangeEntry`, or a `drive_error` where
 * something is being swapped. System errors pass, with the real path.
 */
export async function within<Result>(entry: Entry, act: (path: string) => Promise<Result>): Promise<Result> {
  const { folder, name } = splitPath(entry.path)
  if (!hasDescriptors) return between(entry, folder, act)
  const file = (isQuick(entry) ? openNow(entry.root, folder) : undefined) ?? (await openFolder(entry.root, folder))
  try {
    return await act(`${DESCRIPTORS}/${file}/${name}`)
  } catch (error) {
    throw withRealPath(error, `${DESCRIPTORS}/${file}`, join(entry.root.folder, folder))
  } finally {
    fs.closeSync(file)
  }
}

/** The same, with a path for the folder that `entry` is itself. */
export async function inFolder<Result>(entry: Entry, act: (path: string) => Promise<Result>): Promise<Result> {
  const { root, path } = entry
  if (!hasDescriptors) return between(entry, path, act)
  const file = await openFolder(root, path)
  try {
    return await act(`${DESCRIPTORS}/${file}`)
  } catch (error) {
    throw withRealPath(error, `${DESCRIPTORS}/${file}`, join(root.folder, path))
  } finally {
    fs.closeSync(file)
  }
}

/**
 * What stands at a name, without following it, nor any part of the path to it. Throws `StrangeEntry` if it does not lie
 * in folders of the library. System errors pass, with the real path.
 */
export async function look(entry: Entry): Promise<BigIntStats> {
  const { root, path } = entry
  const { folder, device } = await root.anchor()
  const isOwn = (stats: fs.Stats) => stats.isDirectory() && stats.dev === device
  const isQuickly = isQuick(entry)
  try {
    for (const above of foldersAbove(path).slice(1)) {
      const part = `${folder}/${above}`
      if (!isOwn(isQuickly ? fs.lstatSync(part) : await lstat(part))) throw await refusal(root, above, 'a folder')
    }
    const real = join(folder, path)
    return isQuickly ? fs.lstatSync(real, { bigint: true }) : await lstatBig(real)
  } catch (error) {
    throw withRealPath(error, folder, root.folder)
  }
}

/** Opens the folder that `entry` is, to be flushed. Throws as `within`. */
export async function openAsFolder(entry: Entry): Promise<number> {
  const { root, path } = entry
  const quick = hasDescriptors && isQuick(entry) ? openNow(root, path, FOLDER) : undefined
  if (quick !== undefined) return quick
  return hasDescriptors ? openFolder(root, path, FOLDER) : between(entry, path, (real) => open(real, FOLDER))
}

/**
 * Opens the file that `entry` is. What is there already must be a regular file: anything else is a `StrangeEntry`, and
 * nothing waits for the other end of a pipe. Returns the descriptor and what it stands for, which is not known of a new
 * one (`O_EXCL`).
 */
export async function openAsFile(entry: Entry, flags: number): Promise<{ file: number; stats: fs.Stats | undefined }> {
  let file: number
  try {
    file = await within(entry, (path) => open(path, flags | FILE))
  } catch (error) {
    if (!hasErrno(error, 'ELOOP', 'EMLINK', 'ENXIO', 'ENODEV', 'EISDIR')) throw error
    throw await refusal(entry.root, entry.path, 'a file', error)
  }
  if ((flags & constants.O_EXCL) !== 0) return { file, stats: undefined }
  try {
    const stats = isQuick(entry) ? fs.fstatSync(file) : await fstat(file)
    if (!stats.isFile()) throw await refusal(entry.root, entry.path, 'a file')
    return { file, stats }
  } catch (error) {
    fs.closeSync(file)
    throw error
  }
}

function isQuick({ isTouched, root }: Entry): boolean {
  return isTouched && root.isLocal && root.anchored !== undefined
}

/**
 * Opens a folder of the library, by default to work in it. What is open is the right folder if it has the library's
 * device, and if the system's own name for it is the one that it should have: so no part of that was a link.
 */
async function openFolder(root: Root, folder: string, flags = FOLDER | O_PATH): Promise<number> {
  const anchor = await root.anchor()
  // A link would be noticed below. But whatever it leads to may keep us waiting for ever.
  for (const above of foldersAbove(folder).slice(1)) {
    if (!(await lstat(join(anchor.folder, above))).isDirectory()) throw await refusal(root, folder, 'a folder')
  }
  const real = join(anchor.folder, folder)
  let file: number
  try {
    file = await open(real, flags)
  } catch (error) {
    if (hasErrno(error, 'ENOTDIR', 'ELOOP')) throw await refusal(root, folder, 'a folder', error)
    throw withRealPath(error, anchor.folder, root.folder)
  }
  try {
    if ((await fstat(file)).dev === anchor.device && nameOf(file) === real) return file
    throw await refusal(root, folder, 'a folder')
  } catch (error) {
    fs.closeSync(file)
    throw error
  }
}

/** The same on this thread; `undefined` if it is not as it should be. System errors pass. */
function openNow(root: Root, folder: string, flags = FOLDER | O_PATH): number | undefined {
  const anchor = root.anchored
  if (anchor === undefined) return undefined
  for (let slash = folder.indexOf('/'); slash >= 0; slash = folder.indexOf('/', slash + 1)) {
    if (!fs.lstatSync(`${anchor.folder}/${folder.slice(0, slash)}`).isDirectory()) return undefined
  }
  const real = join(anchor.folder, folder)
  let file: number
  try {
    file = fs.openSync(real, flags)
  } catch (error) {
    if (hasErrno(error, 'ENOTDIR', 'ELOOP')) return undefined
    throw error
  }
  if (fs.fstatSync(file).dev === anchor.device && nameOf(file) === real) return file
  fs.closeSync(file)
  return undefined
}

/** Calls `act` with the real path of `entry`, with `folder` looked at before and after. */
async function between<Result>(entry: Entry, folder: string, act: (path: string) => Promise<Result>): Promise<Result> {
  const { root, path } = entry
  const look = async () => {
    const strange = await lookForStrange(root, folder, 'a folder')
    if (strange !== undefined) throw root.note(strange)
  }
  await look()
  const result = await act(join((await root.anchor()).folder, path))
  await look()
  return result
}

/** Says why something is refused. It is looked at again: `cause` may be what the system said of it. */
async function refusal(root: Root, path: string, expected: Expected, cause?: unknown): Promise<AppError> {
  const before = await root.anchor()
  root.letGo()
  const { folder, device } = await root.anchor()
  const isSameDrive = folder === before.folder && device === before.device
  const strange = isSameDrive ? await lookForStrange(root, path, expected) : undefined
  if (strange !== undefined) return root.note(strange)
  const what = isSameDrive ? `${path} on the drive` : 'The drive'
  return new AppError('drive_error', `${what} was swapped while it was being used. Find out by whom, and try again.`, {
    cause: cause ?? new Error(`${join(root.folder, path)} is not what it was a moment ago`),
  })
}

/** Names what the system complains of as people know it: below `known` instead of `used`. */
function withRealPath(error: unknown, used: string, known: string): unknown {
  if (!hasErrno(error) || used === known) return error
  const real = (path: string) => (path === used || path.startsWith(`${used}/`) ? known + path.slice(used.length) : path)
  error.message = error.message.replaceAll(`'${used}`, `'${known}`)
  if (error.path !== undefined) error.path = real(error.path)
  if ('dest' in error && typeof error.dest === 'string') error.dest = real(error.dest)
  return error
}
