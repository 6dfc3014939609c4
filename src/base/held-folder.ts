import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'

/** Windows has neither. */
const FOLDER = constants.O_RDONLY | (constants.O_DIRECTORY ?? 0)
const NO_LINK = constants.O_NOFOLLOW ?? 0

/**
 * Calls `act` with the folder held open and, on Linux, a name for it that stays its own, whatever is put in its place
 * meanwhile. A link in its place is an error, unless it `mayBeLink`. System errors pass.
 */
export async function holdFolder<Result>(
  path: string,
  act: (folder: FileHandle, name: string) => Promise<Result>,
  { mayBeLink = false } = {},
): Promise<Result> {
  const folder = await open(path, mayBeLink ? FOLDER : FOLDER | NO_LINK)
  try {
    return await act(folder, process.platform === 'linux' ? `/proc/self/fd/${folder.fd}` : path)
  } finally {
    await folder.close()
  }
}

/** Makes a folder that we have just made another account's. Where that account can put a link there, it is refused. */
export function giveFolder(path: string, { uid, gid }: { uid: number; gid: number }): Promise<void> {
  return holdFolder(path, (folder) => folder.chown(uid, gid))
}
