import { AppError, hasErrno } from '../errors.ts'
import type { Entry } from './entry.ts'
import { io } from './io.ts'

/** Removes a regular file of no more use, as far as that can be done: nobody minds if it stays. */
export async function discard(file: Entry): Promise<void> {
  try {
    await io.unlinkFile(file)
  } catch (error) {
    if (!hasErrno(error) && !(error instanceof AppError)) throw error
  }
}
