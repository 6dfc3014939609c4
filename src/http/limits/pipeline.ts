import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { WAITING_PER_CONNECTION } from '../../base/budgets.ts'
import { AppError } from '../../errors.ts'
import { refuse, refuseConnection } from '../error-handler.ts'

type Exchange = readonly [IncomingMessage, ServerResponse]

/** Requests of one connection. */
interface Line {
  atWork: ServerResponse
  waiting: Exchange[]
  /** Requests that came after one was refused. */
  surplus: number
}

/**
 * Has `handle` work on one request of a connection at a time. Node hands over as many as fit into what it has read,
 * some thousands: 16 of them wait, the next one is refused, and the connection ends with that. Who sends still more
 * before he gets the answers is not heard any more.
 */
export class Pipelines {
  readonly #handle: RequestListener
  readonly #lines = new WeakMap<Socket, Line>()

  constructor(handle: RequestListener) {
    this.#handle = handle
  }

  readonly take = (request: IncomingMessage, response: ServerResponse): void => {
    const { socket } = request
    const line = this.#lines.get(socket)
    if (line === undefined) {
      this.#begin({ atWork: response, waiting: [], surplus: 0 }, [request, response])
    } else if (line.surplus === 0 && line.waiting.length < WAITING_PER_CONNECTION) {
      line.waiting.push([request, response])
    } else {
      line.surplus++
      if (line.surplus === 1) refuse(response, tooMany())
      else if (line.surplus > WAITING_PER_CONNECTION) cut(socket, line.atWork)
    }
  }

  #begin(line: Line, [request, response]: Exchange): void {
    const { socket } = request
    line.atWork = response
    this.#lines.set(socket, line)
    // What the answer before had for being taken.
    socket.setTimeout(0)
    response.once('close', () => {
      const next = line.waiting.shift()
      if (next === undefined) this.#lines.delete(socket)
      else if (!socket.destroyed) this.#begin(line, next)
    })
    this.#handle(request, response)
  }
}

function tooMany(): AppError {
  const bound = `expected at most ${WAITING_PER_CONNECTION} that wait for the one at work`
  return new AppError('busy', `Too many requests came on one connection at once: ${bound}. Send them one by one.`)
}

/** At once: what is left of the chunk is thousands of requests, and a slow reader can be owed answers for ever. */
function cut(socket: Socket, atWork: ServerResponse): void {
  if (socket.destroyed) return
  if (!atWork.headersSent && socket.writableLength === 0) refuseConnection(socket, tooMany())
  setImmediate(() => socket.destroy())
}
