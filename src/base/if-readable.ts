import { type AppError, isAboutFile } from '../errors.ts'

/**
 * Returns what reading (or flushing) a file gave; `undefined` if the drive could not, which `report` hears: then it is
 * not known to be the same as what is being stored, or not to last, and nothing else waits for it. Other errors pass.
 */
export async function ifReadable<Result>(
  reading: Promise<Result>,
  report?: (error: AppError) => void,
): Promise<Result | undefined> {
  try {
    return await reading
  } catch (error) {
    if (!isAboutFile(error)) throw error
    report?.(error)
    return undefined
  }
}
