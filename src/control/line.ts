import { AppError, type ErrorCode } from '../errors.ts'

/** What an asked server says while it works, one JSON object a line; last a result or an error. */
export type Line =
  | { progress: unknown }
  | { say: string }
  /** It is still at work. */
  | { beat: true }
  | { result: unknown }
  | { error: Failure }

/** An `AppError` on its way. */
export interface Failure {
  code: ErrorCode
  message: string
  detail?: string | undefined
}

/** The header with a server's secret. */
export const SECRET_HEADER = 'x-iclood-control'

/** How often a server says something at least, in ms. */
export const BEAT_MS = 5_000

export function failureOf({ code, message, detail }: AppError): Failure {
  return { code, message, detail }
}

export function errorOf({ code, message, detail }: Failure): AppError {
  return new AppError(code, message, { detail })
}
