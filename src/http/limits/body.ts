import type { IncomingMessage } from 'node:http'
import { MIN_RATE, RATE_MS } from '../../base/budgets.ts'
import { AppError } from '../../errors.ts'
import { noteGarbage } from './garbage.ts'
import { Rate } from './rate.ts'

/** A body is not silent for longer than this, and slower than `MIN_RATE` for some minutes at most. */
export const STALL_MS = 60_000
/**
 * What is still on its way when a request is refused is read for this long, so that the client gets to see the answer.
 */
const LINGER_MS = 30_000

const TOO_SLOW = `The body came too slowly: fewer than ${MIN_RATE} bytes a second in ${RATE_MS / 60_000} minutes. Send it again.`

/**
 * Feeds the body of a request to `take`, chunk by chunk; while a promise it returned is pending, the sender is
 * held back. Resolves at the body's end. Throws what `take` throws,
 * `upload_incomplete` if the client goes away before the end, and `request_timeout` if it sends nothing for a minute,
 * or next to nothing for some; the rest of the body is then discarded.
 */
export function consumeBody(body: IncomingMessage, take: (chunk: Buffer) => Promise<void> | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const rate = new Rate(performance.now())
    const stall = setTimeout(() => {
      if (body.isPaused()) stall.refresh()
      else fail(new AppError('request_timeout', 'The body stopped: nothing arrived for 60 seconds. Send it again.'))
    }, STALL_MS)

    const settle = () => {
      clearTimeout(stall)
      body.off('data', onData).off('end', onEnd).off('close', onGone).off('error', onGone)
    }
    const fail = (reason: unknown) => {
      settle()
      linger(body)
      reject(reason)
    }
    const onData = (chunk: Buffer) => {
      stall.refresh()
      noteGarbage(chunk.byteLength)
      const now = performance.now()
      if (!rate.isEnough(chunk.length, now)) {
        fail(new AppError('request_timeout', TOO_SLOW))
        return
      }
      try {
        const pending = take(chunk)
        if (pending === undefined) return
        body.pause()
        pending.then(() => {
          rate.excuse(performance.now() - now)
          stall.refresh()
          body.resume()
        }, fail)
      } catch (error) {
        fail(error)
      }
    }
    const onEnd = () => {
      settle()
      resolve()
    }
    const onGone = () => {
      fail(new AppError('upload_incomplete', 'The connection was lost before the body was complete. Send it again.'))
    }
    body.on('data', onData).on('end', onEnd).on('close', onGone).on('error', onGone)
    if (body.destroyed || body.readableAborted) onGone()
  })
}

/**
 * Discards what is left of a body that will not be used, for a while: closing at once would make the client's system
 * throw the answer away with the connection.
 */
export function linger(body: IncomingMessage): void {
  if (body.readableEnded || body.destroyed) return
  body.on('error', () => body.destroy())
  body.resume()
  const end = setTimeout(() => body.socket.destroy(), LINGER_MS)
  end.unref()
  body.once('close', () => clearTimeout(end))
}

/** The length that the client announced in bytes; `undefined` for a chunked body. */
export function announcedLength(body: IncomingMessage): number | undefined {
  const length = body.headers['content-length']
  return length === undefined ? undefined : Number(length)
}
