import { hasErrno } from '../errors.ts'
import type { Drive } from './drive.ts'
import { driveError } from './drive-error.ts'
import { io } from './io.ts'
import { type MonthFolder, pathIn, SUMS_FILE } from './layout.ts'
import { type ParsedSums, parseSums } from './sums-format.ts'

/** Reads a folder's SHA256SUMS; `undefined` if it has none. Throws `drive_error`. */
export async function readSums(drive: Drive, folder: MonthFolder): Promise<ParsedSums | undefined> {
  const path = pathIn(folder, SUMS_FILE)
  try {
    return parseSums(await io.readFile(drive.resolve(path)))
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw driveError(error, `${path} was being read`)
  }
}
