import { AppError, hasErrno } from '../errors.ts'

/**
 * The error for a program of PostgreSQL that gave up: `what` it could not do, `outcome` as the system tells it, and the
 * `lines` that it wrote, which name the cause far better.
 */
export function explainFailure(what: string, outcome: string, lines: readonly string[]): AppError {
  const words = lines.filter((line) => !/^(LOG|DEBUG):/.test(line)).join(' ') || lines.slice(-3).join(' ')
  const said = words === '' ? outcome : `${outcome}: ${words}`

  if (/No space left on device|Disk quota exceeded/.test(words)) {
    return new AppError('disk_full', `The embedded PostgreSQL ${what}: the disk of DATA_DIR is full (${said})`)
  }
  if (/ENOENT/.test(outcome)) {
    return new AppError(
      'database_unavailable',
      `The embedded PostgreSQL ${what} (${said}). Its programs need a Linux with glibc: on others, such as Alpine, set ` +
        'DATABASE_URL to a PostgreSQL of your own.',
    )
  }
  if (/could not look up effective user ID/.test(words)) {
    return new AppError(
      'database_unavailable',
      `The embedded PostgreSQL ${what}: the account of this server (uid ${process.getuid?.()}) has no entry in /etc/passwd. ` +
        'Start it under an account that has one, or set DATABASE_URL to a PostgreSQL of your own.',
    )
  }
  return new AppError('database_unavailable', `The embedded PostgreSQL ${what} (${said})`)
}

/**
 * Translates what the file system says about DATA_DIR into words for the person who set it; other errors stay as they
 * are.
 */
export function explainFileError(error: unknown, dataDir: string): unknown {
  if (hasErrno(error, 'ENOSPC', 'EDQUOT')) {
    return new AppError('disk_full', `The disk of DATA_DIR (${dataDir}) is full: make room on it`, { cause: error })
  }
  if (hasErrno(error, 'EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST', 'ENOENT')) {
    return new AppError(
      'database_unavailable',
      `The database can't be kept in DATA_DIR (${dataDir}): ${error.message}. ` +
        'Set DATA_DIR to a folder that this account may write to.',
      { cause: error },
    )
  }
  return error
}
