import type { Drive } from './drive.ts'
import { driveError } from './drive-error.ts'
import { io } from './io.ts'

/** `f_type` of statfs(2) on Linux: ext2 to ext4, XFS, Btrfs, F2FS, tmpfs. */
const TYPES_WITH_LINKS = new Set([0xef53, 0x58465342, 0x9123683e, 0xf2f52010, 0x01021994])

/**
 * Whether the drive's file system certainly has hard links: then an original gets its name beside the one that it has
 * in staging, and keeps both until it is recorded. Throws `drive_error`.
 */
export async function hasHardLinks(drive: Drive): Promise<boolean> {
  if (process.platform !== 'linux') return false
  try {
    return TYPES_WITH_LINKS.has((await io.statfs(drive.root)).type)
  } catch (error) {
    throw driveError(error, 'its file system was being looked at')
  }
}
