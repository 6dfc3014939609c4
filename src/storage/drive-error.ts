import { AppError, hasErrno } from '../errors.ts'

/**
 * Translates what the drive answered into what a person can act on: `disk_full` for a drive or quota without room,
 * `drive_error` for what else it answers; anything that is no answer of the system is an `internal_error`. `doing` completes "The drive failed while …". An `AppError` passes unchanged.
 */
export function driveError(error: unknown, doing: string): AppError {
  if (error instanceof AppError) return error
  if (!isSystemError(error)) {
    return new AppError('internal_error', 'The server failed unexpectedly; its log says why. Try again.', {
      cause: error,
    })
  }
  if (hasErrno(error, 'ENOSPC', 'EDQUOT')) {
    return new AppError(
      'disk_full',
      `The drive ran out of space while ${doing}. Make room on it or use a larger one.`,
      {
        cause: error,
      },
    )
  }
  const found = hasErrno(error, 'EROFS', 'EACCES', 'EPERM') ? 'refused to be written' : 'failed'
  const advice =
    found === 'failed'
      ? 'Check its cable and its health; the server’s log has the reason.'
      : 'It may be mounted read-only, or its folder may belong to another user; the server’s log has the reason.'
  return new AppError('drive_error', `The drive ${found} while ${doing}. ${advice}`, { cause: error })
}

/**
 * Whether a file, or a part of it, can't be read because the medium or the file system is damaged there; what lies beside it may be
 * readable. Node has no names for EUCLEAN and EBADMSG, with which file systems tell of a checksum that failed.
 */
export function isMediumError(error: unknown): boolean {
  return hasErrno(error) && /^(EIO|ENODATA|EILSEQ|Unknown system error -(117|74))$/.test(error.code ?? '')
}

/** Tells whether `error` is what the system answered to a call. */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error
}
