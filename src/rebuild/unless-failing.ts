import { AppError } from '../errors.ts'

/**
 * Returns what `work` on a file or folder does; `undefined`, having reported it, if the drive fails there
 * (`drive_error`, `disk_full`): the rest of the library does not wait for that. Other errors pass.
 */
export async function unlessFailing<Result>(
  path: string,
  { reportTrouble }: { reportTrouble: (path: string, error: AppError) => void },
  work: () => Promise<Result>,
): Promise<Result | undefined> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof AppError && (error.code === 'drive_error' || error.code === 'disk_full'))) throw error
    reportTrouble(path, error)
    return undefined
  }
}
