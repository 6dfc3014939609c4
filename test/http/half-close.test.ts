import { connect } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { stagedIn } from '../support/drives.ts'
import { type InProcessServer, startInProcess } from '../support/in-process.ts'
import { post } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder } from '../support/server.ts'
import { until } from '../support/wire.ts'

let database: TestDatabase
let server: InProcessServer
beforeAll(async () => {
  database = await startTestDatabase()
  server = await startInProcess(await makeFolder(), database)
})
afterAll(async () => {
  await server.stop()
  await database.drop()
  await removeFolder(server.root)
})

/** Sends that much, says that no more will come, and returns what it is answered. */
function sendHalf(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
    let received = ''
    socket.on('data', (bytes) => {
      received += bytes
    })
    socket.on('error', reject).on('close', () => resolve(received))
    socket.end(text)
  })
}

const statusesOf = (answer: string) => [...answer.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status))

const host = 'host: 127.0.0.1\r\n'
const form = `POST /photos/upload HTTP/1.1\r\n${host}content-type: multipart/form-data; boundary=b\r\n`
const list = `POST /photos/new HTTP/1.1\r\n${host}content-type: application/json\r\n`
const part =
  '--b\r\ncontent-disposition: form-data; name="original_path"\r\n\r\n/DCIM/half.jpg\r\n' +
  '--b\r\ncontent-disposition: form-data; name="file"; filename="half.jpg"\r\n\r\nabc'
const inHex = (length: number) => length.toString(16)

it.each([
  ['an upload of a known length', `${form}content-length: 1000\r\n\r\n${part}`],
  ['an upload of which nothing has come', `${form}content-length: 1000\r\n\r\n`],
  ['an upload in chunks, after one', `${form}transfer-encoding: chunked\r\n\r\n${inHex(part.length)}\r\n${part}\r\n`],
  ['an upload in chunks, within one', `${form}transfer-encoding: chunked\r\n\r\n${inHex(part.length + 9)}\r\n${part}`],
  ['a list of a known length', `${list}content-length: 1000\r\n\r\n{"files":[`],
  ['a list in chunks', `${list}transfer-encoding: chunked\r\n\r\n5\r\n{"fil\r\n`],
])('%s that is cut by a half-close is incomplete, and leaves nothing', async (_, text) => {
  const answer = await sendHalf(text)
  expect(statusesOf(answer)).toEqual([400])
  expect(answer).toContain('"code":"upload_incomplete"')
  await until('nothing is in staging', async () => (await stagedIn(server.root)).length === 0)
})

it('an announced photo that is cut says so in its row', async () => {
  await post(server.url, '/photos/new', { files: [{ path: '/DCIM/half.jpg' }] })
  await sendHalf(`${form}content-length: 1000\r\n\r\n${part}`)
  const row = () => server.db.selectFrom('backups').select(['status', 'failure']).executeTakeFirstOrThrow()
  await until('it is told', async () => (await row()).status === 'Failed')
  expect((await row()).failure).toMatch(/before the body was complete/)
})

it('headers that are cut are no request', async () => {
  expect(await sendHalf('POST /photos/upload HTTP/1.1\r\nhost: 127.0')).toContain('"code":"invalid_request"')
})

it('what was refused before it was cut is answered once', async () => {
  const answer = await sendHalf(`${form.replace('127.0.0.1', 'evil.example')}content-length: 1000\r\n\r\n${part}`)
  expect(statusesOf(answer)).toEqual([421])
})

it.each([
  ['an upload', 201, `${form}content-length: ${part.length + 9}\r\n\r\n${part}\r\n--b--\r\n`],
  ['a list', 200, `${list}content-length: 12\r\n\r\n{"files":[]}`],
  ['a question', 200, `GET /backup/log HTTP/1.1\r\n${host}\r\n`],
])('%s that is whole is answered after a half-close, and the connection ends', async (_, status, text) => {
  expect(statusesOf(await sendHalf(text))).toEqual([status])
})
