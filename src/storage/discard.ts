import { hasErrno } from '../errors.ts'
import { io } from './io.ts'

/** Removes a file of no more use, as far as that can be done: nobody minds if it stays. */
export async function discard(path: string): Promise<void> {
  try {
    await io.unlink(path)
  } catch (error) {
    if (!hasErrno(error)) throw error
  }
}
