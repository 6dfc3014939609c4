import fs from 'node:fs'
import { promisify } from 'node:util'

const [stat, fstat, realpath] = [promisify(fs.stat), promisify(fs.fstat), promisify(fs.realpath.native)]
const open = promisify(fs.open) as (path: string, flags: number) => Promise<number>

const { constants } = fs
/** Of open(2) on Linux: a descriptor that stands for a folder, and costs the drive nothing. Node has no name for it. */
export const O_PATH = 0o10000000
/** Windows has neither flag. */
const FOLDER = constants.O_RDONLY | (constants.O_DIRECTORY ?? 0)
/** Where Linux shows what descriptors stand for. */
export const DESCRIPTORS = '/proc/self/fd'
export const hasDescriptors = process.platform === 'linux' && fs.existsSync(DESCRIPTORS)

/** The system's own name for what a descriptor stands for, where the system has such names. */
export function nameOf(file: number): string {
  return hasDescriptors ? fs.readlinkSync(`${DESCRIPTORS}/${file}`) : ''
}

/**
 * Where the folder that `path` leads to, through links, really lies, and its device: by the name that the system has
 * for it, which on a file system that does not tell upper from lower case may be spelt otherwise. System errors pass.
 */
export async function whereIs(path: string): Promise<{ folder: string; device: number }> {
  if (!hasDescriptors) {
    const folder = await realpath(path)
    return { folder, device: (await stat(folder)).dev }
  }
  const file = await open(path, FOLDER | O_PATH)
  try {
    const { dev } = await fstat(file)
    return { folder: nameOf(file), device: dev }
  } finally {
    fs.closeSync(file)
  }
}
