import { AppError } from '../errors.ts'

/**
 * Returns what reading (or flushing) a file gave, `undefined` if the drive could not: then it is not known to be the
 * same as what is being stored, or not to last, and must not stand in its way. Other errors pass.
 */
export async function ifReadable<Result>(reading: Promise<Result>): Promise<Result | undefined> {
  try {
    return await reading
  } catch (error) {
    if (error instanceof AppError && (error.code === 'drive_error' || error.code === 'disk_full')) return undefined
    throw error
  }
}
