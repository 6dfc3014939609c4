import { AppError } from '../errors.ts'

/**
 * Returns what reading a file gave, `undefined` if the drive could not read it: then it is not known to be the same as what is
 * being stored, and must not stand in its way. Other errors pass.
 */
export async function ifReadable<Result>(reading: Promise<Result>): Promise<Result | undefined> {
  try {
    return await reading
  } catch (error) {
    if (error instanceof AppError && error.code === 'drive_error') return undefined
    throw error
  }
}
