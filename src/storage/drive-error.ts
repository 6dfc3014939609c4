import { userInfo } from 'node:os'
import { AppError, hasErrno } from '../errors.ts'

/**
 * Translates what the drive answered into what a person can act on: `disk_full` for a drive or quota without room,
 * `drive_error` for what else it answers; anything that is no answer of the system is an `internal_error`. `doing`
 * completes "The drive failed while …". An `AppError` passes unchanged.
 */
export function driveError(error: unknown, doing: string): AppError {
  if (error instanceof AppError) return error
  if (!isSystemError(error)) {
    return new AppError('internal_error', 'The server failed unexpectedly; its log says why. Try again.', {
      cause: error,
    })
  }
  const { path } = error
  if (hasErrno(error, 'ENOSPC', 'EDQUOT')) {
    return new AppError(
      'disk_full',
      `The drive ran out of space while ${doing}. Make room on it or use a larger one.`,
      {
        cause: error,
      },
    )
  }
  const detail = path === undefined ? undefined : `It was about ${path}.`
  return new AppError('drive_error', whatFailed(error, doing), { cause: error, detail })
}

function whatFailed(error: NodeJS.ErrnoException, doing: string): string {
  if (hasErrno(error, 'EROFS')) {
    return (
      `The drive is read-only, and could not be written to while ${doing}. Mount it so that it can be written to. ` +
      'If the system has made it read-only by itself, the file system is damaged: check it with fsck. ' +
      'If only the service can’t write there, the folder must be in ReadWritePaths= of its unit.'
    )
  }
  if (hasErrno(error, 'EACCES', 'EPERM')) {
    return (
      `The drive refused ${account()}, under which the server runs, while ${doing}. ` +
      'Let its folder belong to that account (chown -R), or start the server under the account that it belongs to. ' +
      'A service can’t reach folders below /home at all where its unit has ProtectHome=.'
    )
  }
  return `The drive failed while ${doing}. Check its cable and its health; the server’s log has the reason.`
}

/** Who the system says that this process is. */
function account(): string {
  const uid = process.getuid?.()
  try {
    const { username } = userInfo()
    return `the account ${username}${uid === undefined ? '' : ` (uid ${uid})`}`
  } catch (error) {
    // Whoever starts a container may choose a number without a name.
    if (hasErrno(error)) return `the account with uid ${uid}`
    throw error
  }
}

/**
 * Whether a file, or a part of it, can't be read because the medium or the file system is damaged there; what lies
 * beside it may be readable. Node has no names for EUCLEAN and EBADMSG, with which file systems tell of a checksum that
 * failed.
 */
export function isMediumError(error: unknown): boolean {
  return hasErrno(error) && /^(EIO|ENODATA|EILSEQ|Unknown system error -(117|74))$/.test(error.code ?? '')
}

/** Tells whether `error` is what the system answered to a call. */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error
}
