import { createServer } from 'node:net'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type HeartbeatOptions, keepHeartBeating } from '../../src/notify/heartbeat.ts'
import { startReceiver, type TestReceiver } from '../support/receiver.ts'
import { until } from '../support/wire.ts'

let receiver: TestReceiver
let ending: AbortController
let beating: Promise<void> | undefined
let lines: string[]
beforeEach(async () => {
  receiver = await startReceiver()
  ending = new AbortController()
  lines = []
})
afterEach(async () => {
  ending.abort()
  await beating
  await receiver.stop()
})

function beat(options: Partial<HeartbeatOptions> = {}): void {
  const url = `http://anna:s3cr%40t@127.0.0.1:${receiver.port}/api/push/t0ken?status=up&msg=OK&ping=`
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) })
  beating = keepHeartBeating({ url, isHealthy: async () => true, log, everyMs: 5, ...options }, ending.signal)
}

it('asks for the address as it is, again and again, while all is well', async () => {
  beat()
  await until('it was heard some times', async () => receiver.received.length >= 3)
  expect(receiver.received[0]).toMatchObject({
    method: 'GET',
    path: '/api/push/t0ken?status=up&msg=OK&ping=',
    headers: { 'user-agent': 'iClood', authorization: `Basic ${Buffer.from('anna:s3cr@t').toString('base64')}` },
    body: '',
  })
  expect(lines).toEqual([])
})

it('sends nothing while something is wrong, or it is not known how it is, and goes on when all is well', async () => {
  const answers = [() => false, () => Promise.reject(new Error('the database is away')), () => false, () => true]
  let heard = 0
  const isHealthy = async () => {
    if (answers.length > 1) heard += receiver.received.length
    const next = answers.length > 1 ? answers.shift() : answers[0]
    return next?.() ?? false
  }
  beat({ isHealthy })
  await until('it is heard', async () => receiver.received.length > 0)
  expect(answers).toHaveLength(1)
  expect(heard).toBe(0)
})

it.each([
  ['refuses it', 500, {}, 'it answered 500'],
  ['sends it elsewhere', 302, { location: 'http://127.0.0.1:1/' }, 'put its new address into HEARTBEAT_URL'],
])(
  'a receiver that %s is told of once in the log, without its secrets, and once when it is back',
  async (_, status, headers, reason) => {
    receiver.answer(status, headers)
    beat()
    await until('it was refused some times', async () => receiver.refused() >= 3)
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { level: 40, host: `127.0.0.1:${receiver.port}`, reason: expect.stringContaining(reason) },
    ])
    receiver.answer(200)
    await until('the log says so', async () => lines.length === 2)
    expect(lines[1]).toContain('the heartbeat is heard again')
    expect(lines.join()).not.toMatch(/t0ken|s3cr/)
  },
)

it('ends at once though the receiver never answers', async () => {
  const silent = createServer(() => asked()).listen(0, '127.0.0.1')
  let asked = () => {}
  const wasAsked = new Promise<void>((resolve) => {
    asked = resolve
  })
  await new Promise((resolve) => silent.once('listening', resolve))
  const address = silent.address()
  beat({ url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/` })
  await wasAsked
  ending.abort()
  await beating
  expect(lines).toEqual([])
  silent.close()
})
