import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { printable } from '../base/shown.ts'
import { AppError, type ErrorCode, hasErrno } from '../errors.ts'

// `satisfies` makes a code without a status a compile error.
const STATUS = {
  invalid_request: 400,
  unauthorized: 401,
  cross_site: 403,
  not_found: 404,
  request_timeout: 408,
  name_taken: 409,
  payload_too_large: 413,
  file_too_large: 413,
  unsupported_media_type: 415,
  unknown_host: 421,
  checksum_mismatch: 422,
  upload_incomplete: 400,
  too_many_guesses: 429,
  headers_too_large: 431,
  internal_error: 500,
  database_unavailable: 503,
  drive_missing: 503,
  drive_error: 503,
  rebuild_needed: 503,
  mirror_missing: 503,
  shutting_down: 503,
  disk_full: 507,
  data_dir_full: 503,
  space_promised: 503,
  hashing_failed: 503,
  busy: 503,
} as const satisfies Record<ErrorCode, number>

const LINGER_MS = 2_000

/** Seconds after which it makes sense to try again what needs something that is away. */
const RETRY_AFTER = {
  database_unavailable: 5,
  drive_missing: 30,
  drive_error: 30,
  data_dir_full: 60,
  rebuild_needed: 30,
  shutting_down: 10,
  hashing_failed: 5,
  // A connection that is dead keeps its promise for as long as one may be silent.
  space_promised: 60,
  too_many_guesses: 60,
  busy: 5,
} as const

/** The body of every refusal and failure. */
function errorBody(error: AppError) {
  return { status: 'error', code: error.code, message: printable(error.message) } as const
}

/** Told by those who look for it, when it begins and when it is over. */
const TOLD_ELSEWHERE: readonly ErrorCode[] = ['drive_missing', 'rebuild_needed', 'shutting_down']
const AGAIN_MS = 10 * 60_000

/** States that last, such as a full drive, concern every request and are told once. */
export class Expected {
  readonly #toldAt = new Map<string, number>()

  /** Whether the log should hear of `error`: that it is so has not been said in the last ten minutes. */
  isNews(error: AppError): boolean {
    if (TOLD_ELSEWHERE.includes(error.code)) return false
    const { cause } = error
    const key = `${error.code} ${hasErrno(cause) ? cause.code : ''}`
    const isNews = performance.now() - (this.#toldAt.get(key) ?? Number.NEGATIVE_INFINITY) > AGAIN_MS
    if (isNews) this.#toldAt.set(key, performance.now())
    return isNews
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    expected: Expected
  }
}

/** Answers every error in one shape, and tells the log what the client is not told. */
export function installErrorHandler(app: FastifyInstance): void {
  app.decorate('expected', new Expected())
  app.setErrorHandler((error: FastifyError, request, reply) => answerError(error, request, reply))
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0]
    answerError(
      new AppError('not_found', `There is no ${request.method} ${path} here; GET /docs lists what there is.`),
      request,
      reply,
    )
  })
}

/** Answers one error as `installErrorHandler` has every error answered. */
export function answerError(error: Error, request: FastifyRequest, reply: FastifyReply): void {
  const known = toAppError(error)
  const status = STATUS[known.code]
  const details = { code: known.code, method: request.method, path: request.url.split('?', 1)[0] }
  if (status === 500) {
    request.log.error({ ...details, err: known.cause ?? known }, 'a request failed in a way that nobody foresaw')
  } else {
    const isNews = (status > 500 || known.code === 'too_many_guesses') && request.server.expected.isNews(known)
    const because = known.cause instanceof Error ? { because: known.cause.message } : {}
    request.log[isNews ? 'warn' : 'debug']({ ...details, ...because }, known.message)
  }

  reply.headers(retryAfter(known))
  if (known.code === 'unauthorized') reply.header('www-authenticate', 'Bearer')
  reply.code(status).type('application/json; charset=utf-8').serializer(JSON.stringify).send(errorBody(known))
}

function retryAfter({ code }: AppError): Record<string, string> {
  return code in RETRY_AFTER ? { 'retry-after': String(RETRY_AFTER[code as keyof typeof RETRY_AFTER]) } : {}
}

function toAppError(error: Error): AppError {
  if (error instanceof AppError) return error
  const { statusCode, code } = error as FastifyError
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    return new AppError(
      'unsupported_media_type',
      `${error.message}. Files are sent as multipart/form-data, lists as JSON.`,
    )
  }
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return new AppError('payload_too_large', 'The body is too large.')
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return new AppError('invalid_request', `${error.message.replace(/^querystring\//, 'In the query, ')}.`)
  return new AppError('internal_error', 'The server failed unexpectedly; its log says why. Try again.', {
    cause: error,
  })
}

/** A request and what it is answered. */
export interface Exchange {
  request: IncomingMessage
  response: ServerResponse
}

/**
 * Answers what is not even a request, in the same shape, and hangs up. `last` is what began last on that connection.
 */
export function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket, last: Exchange | undefined): void {
  const isUnderWay = last !== undefined && !last.request.complete
  if (hasErrno(error, 'ECONNRESET') || !socket.writable) {
    socket.destroy()
    return
  }
  // A second answer would be taken for that to another request.
  hangUp(socket, isUnderWay && last.response.headersSent ? '' : answerTo(brokenRequest(error, isUnderWay)))
}

/** Answers a request that nothing else has looked at; the connection ends with that. */
export function refuse(response: ServerResponse, error: AppError): void {
  const { headers, body } = wordsOf(error)
  response.writeHead(STATUS[error.code], headers).end(body)
}

/** Answers a connection before it has sent a request, or before its first one is answered, and hangs up. */
export function refuseConnection(socket: Socket, error: AppError): void {
  hangUp(socket, answerTo(error))
}

function wordsOf(error: AppError) {
  const body = JSON.stringify(errorBody(error))
  const type = 'application/json; charset=utf-8'
  const length = String(Buffer.byteLength(body))
  return {
    headers: { 'content-type': type, 'content-length': length, ...retryAfter(error), connection: 'close' },
    body,
  }
}

function answerTo(error: AppError): string {
  const { headers, body } = wordsOf(error)
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${STATUS[error.code]} Error\r\n${lines.join('')}\r\n${body}`
}

function hangUp(socket: Socket, words: string): void {
  socket.end(words)
  // A client that keeps its side open would keep ours, too; at once, and it might not see the answer.
  setTimeout(() => socket.destroy(), LINGER_MS).unref()
}

function brokenRequest(error: NodeJS.ErrnoException, isUnderWay: boolean): AppError {
  switch (error.code) {
    case 'HPE_INVALID_EOF_STATE':
      if (!isUnderWay) break
      return new AppError('upload_incomplete', 'The body ended before it was complete. Send it again.')
    case 'HPE_HEADER_OVERFLOW':
      return new AppError('headers_too_large', 'The request’s headers are too large; expected at most 16 KB in all.')
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new AppError('request_timeout', 'The request’s headers did not arrive within 30 seconds.')
  }
  return new AppError('invalid_request', 'This is not a valid HTTP/1.1 request.')
}
