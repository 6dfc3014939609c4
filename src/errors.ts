/** Every way in which the server refuses or fails, as one closed list: the words that clients see in `code`. */
export type ErrorCode =
  | 'invalid_request'
  | 'unauthorized'
  | 'too_many_guesses'
  | 'cross_site'
  | 'not_found'
  | 'request_timeout'
  | 'name_taken'
  | 'payload_too_large'
  | 'file_too_large'
  | 'unsupported_media_type'
  | 'unknown_host'
  | 'checksum_mismatch'
  | 'upload_incomplete'
  | 'headers_too_large'
  | 'internal_error'
  | 'database_unavailable'
  | 'drive_missing'
  | 'drive_error'
  | 'rebuild_needed'
  | 'mirror_missing'
  | 'shutting_down'
  | 'disk_full'
  | 'data_dir_full'
  | 'space_promised'
  | 'hashing_failed'
  | 'busy'

/**
 * An error that a person can meet. `message` names the object, what was found, what was expected and what to do; it is
 * shown to clients as it stands, so it holds no SQL and no path outside the library. `detail` goes on for those who
 * keep the server: further sentences, which may name its folders, for the log, `status`, the health report and
 * notifications. What only the log should know (the errno) travels as `cause`.
 */
export class AppError extends Error {
  readonly code: ErrorCode
  readonly detail: string | undefined

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown; detail?: string | undefined }) {
    super(message, options)
    this.name = 'AppError'
    this.code = code
    this.detail = options?.detail
  }
}

/** All that an error says to those who keep the server. */
export function inFull({ message, detail }: AppError): string {
  return detail === undefined ? message : `${message} ${detail}`
}

/**
 * Tells whether `error` is a system error with one of the errno names in `codes`, such as `ENOENT`; without codes, with
 * any.
 */
export function hasErrno(error: unknown, ...codes: readonly string[]): error is NodeJS.ErrnoException {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    (codes.length === 0 || codes.includes(error.code))
  )
}

/** Tells whether `error` is an `AppError` with one of these codes. */
export function hasCode<Code extends ErrorCode>(
  error: unknown,
  ...codes: readonly Code[]
): error is AppError & { readonly code: Code } {
  return error instanceof AppError && (codes as readonly ErrorCode[]).includes(error.code)
}

const AWAY = ['drive_missing', 'mirror_missing', 'database_unavailable'] as const
const ABOUT_FILE = ['drive_error', 'disk_full'] as const

/** Whether a drive or the database is not there at all: what fails now will work when it is back. */
export function isAway(error: unknown): error is AppError & { readonly code: (typeof AWAY)[number] } {
  return hasCode(error, ...AWAY)
}

/** Whether the drive fails at one file, as far as is known: the others do not wait for that. */
export function isAboutFile(error: unknown): error is AppError & { readonly code: (typeof ABOUT_FILE)[number] } {
  return hasCode(error, ...ABOUT_FILE)
}
