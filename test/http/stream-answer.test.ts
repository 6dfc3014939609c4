import { once } from 'node:events'
import { connect } from 'node:net'
import { fastify } from 'fastify'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ANSWER_BYTES } from '../../src/base/budgets.ts'
import { jsonArray, type Piece, sendPieces } from '../../src/http/stream-answer.ts'
import { until } from '../support/until.ts'

const app = fastify()
let url: string
let made = 0

async function* endless(): AsyncGenerator<string> {
  for (;;) {
    yield 'x'.repeat(1000)
    made += 1000
  }
}

async function* failing(): AsyncGenerator<string> {
  yield '['.repeat(4 * ANSWER_BYTES)
  throw new Error('the database has gone')
}

beforeAll(async () => {
  const pieces: Record<string, () => Iterable<Piece> | AsyncIterable<Piece>> = {
    short: () => ['[1,', Buffer.from('"ü"'), ']'],
    long: () =>
      jsonArray(
        [...Array(10_000).keys()],
        async (ids) => ids.map((id) => ({ id, text: 'ü'.repeat(50) })),
        (row) => row,
      ),
    endless,
    failing,
  }
  app.get<{ Params: { what: string } }>('/:what', async (request, reply) =>
    sendPieces(reply, pieces[request.params.what]?.() ?? []),
  )
  url = await app.listen({ port: 0, host: '127.0.0.1' })
})
afterAll(() => app.close())

it('a short answer has its length, a long one comes in pieces; both are whole', async () => {
  const short = await fetch(`${url}/short`)
  expect(short.headers.get('content-length')).toBe('8')
  expect(await short.json()).toEqual([1, 'ü'])
  const long = await fetch(`${url}/long`)
  expect(long.headers.get('content-length')).toBe(null)
  expect(await long.json()).toHaveLength(10_000)
})

it('no more of it is made than the client takes', async () => {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  await once(socket, 'connect')
  socket.pause()
  socket.write('GET /endless HTTP/1.1\r\nhost: a.lan\r\n\r\n')
  let before = -1
  await until('it rests', async () => {
    const rests = made > 0 && made === before
    before = made
    return rests
  })
  // The rest of it is in the system's buffers.
  expect(made).toBeLessThan(32 * 1024 * 1024)
  const rested = made
  socket.resume()
  await until('it goes on', async () => made > rested + 4 * ANSWER_BYTES)
  socket.destroy()
})

it('an answer that can’t be ended is broken off, never whole', async () => {
  const answer = await fetch(`${url}/failing`)
  await expect(answer.text()).rejects.toThrow()
})
