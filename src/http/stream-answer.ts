import { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import type { FastifyReply } from 'fastify'
import { ANSWER_BYTES } from '../base/budgets.ts'
import { AppError } from '../errors.ts'
import { Rate } from './limits/rate.ts'

export type Piece = string | Buffer
/** Each may hold a few texts of some KB. */
const ROWS_AT_A_TIME = 100

type Pieces = Iterable<Piece> | AsyncIterable<Piece>

/**
 * Answers with JSON that is made in pieces, in order: as one with its length if it is short, else as the client takes
 * it, so that a few hundred KB are in memory however long it is. A client that takes next to nothing for some minutes
 * is hung up on; so it is when making a piece fails, since what was sent can't be taken back.
 */
export async function sendPieces(reply: FastifyReply, pieces: Pieces): Promise<never> {
  reply.type('application/json; charset=utf-8')
  const parts = gathered(pieces)
  const first = await parts.next()
  if (first.done) return reply.send('') as never
  const second = await parts.next()
  if (second.done) return reply.send(first.value) as never
  return reply.send(Readable.from(paced([first.value, second.value], parts))) as never
}

/** The same bytes in parts of half the bound each: one is sent while the next one is made. */
async function* gathered(pieces: Pieces): AsyncGenerator<Buffer> {
  let held: Buffer[] = []
  let bytes = 0
  for await (const piece of pieces) {
    const buffer = typeof piece === 'string' ? Buffer.from(piece) : piece
    for (let at = 0; at < buffer.length; at += ANSWER_BYTES / 2) {
      const part = buffer.subarray(at, at + ANSWER_BYTES / 2)
      held.push(part)
      bytes += part.length
      if (bytes < ANSWER_BYTES / 2) continue
      yield Buffer.concat(held)
      held = []
      bytes = 0
      // A long answer holds up nobody.
      await setImmediate()
    }
  }
  if (bytes > 0) yield Buffer.concat(held)
}

async function* paced(begun: readonly Buffer[], rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const rate = new Rate(performance.now())
  const taken = (bytes: number) => {
    if (rate.isEnough(bytes, performance.now())) return
    throw new AppError('request_timeout', 'The answer was taken too slowly.')
  }
  for (const part of begun) {
    yield part
    taken(part.length)
  }
  let asked = performance.now()
  for await (const part of rest) {
    // Making it was not the client's time.
    rate.excuse(performance.now() - asked)
    yield part
    taken(part.length)
    asked = performance.now()
  }
}

/** A JSON array of what `read` returns for `ids`, some at a time; returns how many those were. */
export async function* jsonArray<Row>(
  ids: readonly number[],
  read: (ids: readonly number[]) => Promise<readonly Row[]>,
  jsonOf: (row: Row) => unknown,
): AsyncGenerator<string, number> {
  let count = 0
  yield '['
  for (let at = 0; at < ids.length; at += ROWS_AT_A_TIME) {
    for (const row of await read(ids.slice(at, at + ROWS_AT_A_TIME))) {
      yield (count === 0 ? '' : ',') + JSON.stringify(jsonOf(row))
      count++
    }
  }
  yield ']'
  return count
}
