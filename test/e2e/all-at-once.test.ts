import { readFile, statfs } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { UPLOADS } from '../../src/base/budgets.ts'
import { jpeg } from '../support/media.ts'
import { needs } from '../support/needs.ts'
import { get, post, upload } from '../support/phone.ts'
import { RawConnection, uploadHead } from '../support/raw-http.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'

const MB = 1024 * 1024
/** Of 512 MB; the rest is the database's: a small cache, and some MB for each of a few connections. */
const MEMORY_LIMIT = 448 * MB
const linux = process.platform === 'linux' ? undefined : 'Linux, where a machine has every address of 127.0.0.0/8'

describe('with a heap of 256 MB, in 512 MB of memory', needs(linux), () => {
  let server: TestServer
  beforeAll(async () => {
    server = await startServer(await makeFolder(), { NODE_OPTIONS: '--max-old-space-size=256' })
  })
  afterAll(async () => {
    await server.stop()
    await removeFolder(server.folder)
  })

  const open = (from: string) => RawConnection.open(server.port, from)

  /** Sends `body` without reading the answer, for as long as the server listens. */
  async function send(from: string, head: string, body: Iterable<Buffer>): Promise<RawConnection> {
    const connection = await open(from)
    await connection.write(head)
    for (const piece of body) {
      if (connection.isEnded) break
      await connection.write(piece)
    }
    return connection
  }

  function list(path: string, bytes: number): [string, Buffer[]] {
    const begin = Buffer.from('{"device_id":"guest","files":[{"path":"x"}')
    const piece = Buffer.from(`,{"path":"${'y'.repeat(440)}"}`.repeat(2000))
    const pieces = [begin, ...Array.from({ length: Math.ceil(bytes / piece.length) }, () => piece), Buffer.from(']}')]
    const length = pieces.reduce((sum, { length }) => sum + length, 0)
    return [`POST ${path} HTTP/1.1\r\nhost: a.lan\r\ncontent-length: ${length}\r\n\r\n`, pieces]
  }

  /** More than a socket's buffers hold, of which nothing is read. */
  async function unread(from: string, path: string): Promise<RawConnection> {
    const connection = await open(from)
    connection.socket.pause()
    await connection.write(`GET ${path} HTTP/1.1\r\nhost: a.lan\r\n\r\n`)
    return connection
  }

  async function memory(): Promise<number> {
    const status = await readFile(`/proc/${server.pid}/status`, 'utf8')
    return 1024 * Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1])
  }

  it('everything that guests can do at once leaves the server alive, and phones are served meanwhile', async () => {
    const long = Array.from({ length: 2_000 }, (_, n) => ({ path: `${n}/${'p'.repeat(3_000)}` }))
    const GUEST = '127.0.0.1'
    expect((await post(server.url, '/photos/new', { device_id: 'long', files: long })).status).toBe(200)
    expect((await post(server.url, '/photos/ignore', { device_id: 'long', files: long })).status).toBe(200)
    const { bavail, bsize } = await statfs(server.library)
    const filePart = '--b\r\ncontent-disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    const started = [
      // All free bytes are announced, and nothing comes.
      send('127.0.5.1', uploadHead('b', bavail * bsize), []),
      // Uploads that stop just before they would be written.
      ...Array.from({ length: 4 * UPLOADS.each }, (_, n) =>
        send(`127.0.6.${n % 4}`, uploadHead('b', 100 * MB), [Buffer.from(filePart), Buffer.alloc(900 * 1024)]),
      ),
      ...[1, 2, 3].map((n) => send(`127.0.7.${n}`, ...list('/photos/new', 88 * MB))),
      ...[4, 5, 6].map((n) => send(`127.0.7.${n}`, ...list('/photos/verdict', 25 * MB))),
      ...Array.from({ length: 50 }, (_, n) =>
        send(`127.0.8.${n % 5}`, `GET /openapi.json HTTP/1.1\r\nhost: a.lan\r\n\r\n`.repeat(2_000), []),
      ),
      ...Array.from({ length: 16 }, (_, n) => unread(n < 4 ? GUEST : `127.0.9.${n}`, '/photos/ignored')),
      ...Array.from({ length: 16 }, () => unread(GUEST, '/backup/log?limit=10000&status=Pending')),
      send('127.0.5.2', uploadHead('b'), [
        Buffer.from(`100000\r\n${filePart}`),
        ...Array.from({ length: 32 }, () => Buffer.from(`\r\n--b${' '.repeat(255)}x`.repeat(4_000))),
      ]),
    ]
    const files = Array.from({ length: 3_000 }, (_, n) => ({
      path: `ph://${n}/L0/001`,
      id: `${n}`,
      name: `${n}.HEIC`,
    }))
    for (let n = 0; n < 3; n++) {
      const offered = await post(server.url, '/photos/new', { device_id: 'phone', files })
      expect({ status: offered.status, count: offered.body.count }).toEqual({ status: 200, count: 3_000 })
      const stored = await upload(server.url, jpeg({ size: 500_000, seed: `${n}` }), { name: `IMG_${n}.JPG` })
      expect(stored.status).toBe(201)
    }
    const connections = await Promise.all(started)
    expect((await get(server.url, '/ping')).status).toBe(200)
    for (const connection of connections) connection.close()
    expect(await memory()).toBeLessThan(MEMORY_LIMIT)
  })
})
