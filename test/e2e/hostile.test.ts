import { readdir, readFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { originalsIn, stagedIn } from '../support/drives.ts'
import { jpeg, noise } from '../support/media.ts'
import { get, post, upload } from '../support/phone.ts'
import { httpChunk, type RawAnswer, RawConnection, rawUpload, uploadHead } from '../support/raw-http.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

const MB = 1024 * 1024
/** Far above what the server takes under load, far below what an attacker could make it take. */
const MEMORY_LIMIT = 600 * MB

let server: TestServer
beforeAll(async () => {
  server = await startServer(await makeFolder())
})
afterAll(async () => {
  await server.stop()
  await removeFolder(server.folder)
})
afterEach(async () => {
  expect((await get(server.url, '/ping')).status).toBe(200)
  await until('staging is empty', async () => (await stagedIn(server.library)).length === 0)
  expect(await originalsIn(server.library)).toEqual([])
  expect(await highestMemory()).toBeLessThan(MEMORY_LIMIT)
})

/** The most memory that the server has ever had, in bytes, by the kernel's own account. */
async function highestMemory(): Promise<number> {
  const [, kilobytes] = /^VmHWM:\s+(\d+) kB/m.exec(await readFile(`/proc/${server.pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) * 1024
}

/** Writes a whole request, in pieces if need be, and returns the answer. */
async function exchange(...pieces: (Buffer | string)[]): Promise<RawAnswer | undefined> {
  const connection = await RawConnection.open(server.port)
  // Some of it may be refused, and the connection closed, before all is written.
  const writing = (async () => {
    for (const piece of pieces) await connection.write(piece)
  })()
  const answer = await connection.answer()
  connection.close()
  await writing
  return answer
}

function expectRefusal(answer: RawAnswer | undefined, status: number, code: string): void {
  expect(answer?.headers.get('content-type')).toMatch(/^application\/json/)
  expect({ status: answer?.status, ...answer?.json() }).toEqual({
    status: 'error',
    code,
    message: expect.stringMatching(/\S.*[.!]$/s),
  })
  expect(answer?.status).toBe(status)
}

/** An upload whose body is exactly `body`. */
const sent = (body: Buffer | string, boundary = 'b') => {
  const bytes = Buffer.from(body)
  return exchange(uploadHead(boundary, bytes.length), bytes)
}

const filePart = '--b\r\ncontent-disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'

it.each<[string, string | Buffer, number, string]>([
  ['nothing at all', '', 400, 'upload_incomplete'],
  ['no end', `${filePart}bytes`, 400, 'upload_incomplete'],
  ['half an end', `${filePart}bytes\r\n--b`, 400, 'upload_incomplete'],
  ['another boundary', `${filePart}bytes`.replaceAll('--b', '--c'), 400, 'invalid_request'],
  ['another boundary at the end', `${filePart}bytes\r\n--c--\r\n`, 400, 'upload_incomplete'],
  ['an empty file', `${filePart}\r\n--b--\r\n`, 400, 'invalid_request'],
  ['no file', '--b\r\ncontent-disposition: form-data; name="device_id"\r\n\r\nx\r\n--b--\r\n', 400, 'invalid_request'],
  ['only an end', '--b--\r\n', 400, 'invalid_request'],
  ['two files', `${filePart}one\r\n${filePart}two\r\n--b--\r\n`, 400, 'invalid_request'],
  ['headers without end', `--b\r\n${'x'.repeat(100_000)}`, 431, 'headers_too_large'],
  ['a header without name', `--b\r\n: x\r\n\r\nbytes\r\n--b--\r\n`, 400, 'invalid_request'],
  [
    'NUL in a header',
    `--b\r\ncontent-disposition: form-data; name="fi\0le"\r\n\r\nx\r\n--b--\r\n`,
    400,
    'invalid_request',
  ],
  [
    'a million parts',
    '--b\r\ncontent-disposition: form-data; name="x"\r\n\r\n\r\n'.repeat(200_000),
    413,
    'payload_too_large',
  ],
  [
    'a field without end',
    `--b\r\ncontent-disposition: form-data; name="x"\r\n\r\n${'x'.repeat(2 * MB)}`,
    413,
    'payload_too_large',
  ],
  [
    'NUL in a field',
    `${filePart}bytes\r\n--b\r\ncontent-disposition: form-data; name="device_id"\r\n\r\na\0b\r\n--b--\r\n`,
    400,
    'invalid_request',
  ],
  ['a preamble without end', Buffer.alloc(2 * MB, '-'), 400, 'invalid_request'],
  ['noise', noise(2 * MB, 'hostile'), 400, 'invalid_request'],
  ['line ends only', '\r\n'.repeat(MB), 400, 'invalid_request'],
  ['boundaries only', '--b\r\n'.repeat(300_000), 431, 'headers_too_large'],
])('an upload of %s is refused', async (_, body, status, code) => {
  expectRefusal(await sent(body), status, code)
})

it('an upload that ends before its announced length is dropped, and one that goes on behind it is not read on', async () => {
  const connection = await RawConnection.open(server.port)
  await connection.write(`${uploadHead('b', 1_000_000)}${filePart}bytes\r\n--b--\r\n`)
  connection.socket.end()
  await connection.ended()
  // What follows the body is the next request.
  const body = `${filePart}bytes`
  const answer = await exchange(`${uploadHead('b', body.length)}${body}GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n`)
  expectRefusal(answer, 400, 'upload_incomplete')
})

it.each<[string, string]>([
  ['application/json', '{}'],
  ['text/plain', 'x'],
  ['multipart/mixed; boundary=b', 'x'],
  ['multipart/form-data', 'x'],
  [`multipart/form-data; boundary=${'b'.repeat(71)}`, 'x'],
  ['multipart/form-data; boundary=""', 'x'],
  ['multipart/form-data; boundary=b; boundary=c', 'x'],
])('an upload that calls itself %s is refused', async (type, body) => {
  const answer = await exchange(
    `POST /photos/upload HTTP/1.1\r\nhost: localhost\r\ncontent-type: ${type}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  )
  expect([400, 415]).toContain(answer?.status)
  expect(answer?.json()).toMatchObject({ status: 'error', code: expect.stringMatching(/^[a-z_]+$/) })
})

it.each<[string, string, number, string]>([
  ['no HTTP', 'hello\r\n\r\n', 400, 'invalid_request'],
  ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400, 'invalid_request'],
  ['no version', 'GET /ping\r\n\r\n', 421, 'unknown_host'],
  ['another version', 'GET /ping HTTP/9.9\r\nhost: localhost\r\n\r\n', 400, 'invalid_request'],
  ['no host', 'GET /ping HTTP/1.1\r\n\r\n', 400, 'invalid_request'],
  ['a header without colon', 'GET /ping HTTP/1.1\r\nhost: localhost\r\nbroken\r\n\r\n', 400, 'invalid_request'],
  ['NUL in a header', 'GET /ping HTTP/1.1\r\nhost: localhost\r\nx: a\0b\r\n\r\n', 400, 'invalid_request'],
  ['a folded header', 'GET /ping HTTP/1.1\r\nhost: localhost\r\nx: a\r\n b\r\n\r\n', 400, 'invalid_request'],
  ['a space before the colon', 'GET /ping HTTP/1.1\r\nhost: localhost\r\nx : a\r\n\r\n', 400, 'invalid_request'],
  [
    'one huge header',
    `GET /ping HTTP/1.1\r\nhost: localhost\r\nx: ${'x'.repeat(100_000)}\r\n\r\n`,
    431,
    'headers_too_large',
  ],
  ['a huge path', `GET /${'x'.repeat(100_000)} HTTP/1.1\r\nhost: localhost\r\n\r\n`, 431, 'headers_too_large'],
  [
    'both lengths',
    'POST /photos/new HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    400,
    'invalid_request',
  ],
  [
    'two lengths',
    'POST /photos/new HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef',
    400,
    'invalid_request',
  ],
  [
    'a length with a sign',
    'POST /photos/new HTTP/1.1\r\nhost: localhost\r\ncontent-length: +5\r\n\r\nabcde',
    400,
    'invalid_request',
  ],
  [
    'a negative length',
    'POST /photos/new HTTP/1.1\r\nhost: localhost\r\ncontent-length: -5\r\n\r\n',
    400,
    'invalid_request',
  ],
  [
    'chunked, but not last',
    'POST /photos/new HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n',
    400,
    'invalid_request',
  ],
  [
    'an obfuscated encoding',
    'POST /photos/new HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n',
    400,
    'invalid_request',
  ],
  [
    'a broken chunk',
    'POST /photos/new HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n',
    400,
    'invalid_request',
  ],
  ['an unknown path', 'GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n', 404, 'not_found'],
  ['an unknown method', 'DELETE /ping HTTP/1.1\r\nhost: localhost\r\n\r\n', 404, 'not_found'],
  ['a path that can’t be decoded', 'GET /%zz HTTP/1.1\r\nhost: localhost\r\n\r\n', 400, 'invalid_request'],
  ['dots', 'GET /../../etc/passwd HTTP/1.1\r\nhost: localhost\r\n\r\n', 404, 'not_found'],
  [
    'broken JSON',
    'POST /photos/new HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n{',
    400,
    'invalid_request',
  ],
])('a request with %s is answered in the shape of every error', async (_, bytes, status, code) => {
  expectRefusal(await exchange(Buffer.from(bytes, 'latin1')), status, code)
})

it('a hundred headers do not hide the one that tells where a request comes from', async () => {
  const many = Array.from({ length: 150 }, (_, n) => `x-${n}: y\r\n`).join('')
  const answer = await exchange(
    `GET /backup/log HTTP/1.1\r\nhost: localhost\r\n${many}x-forwarded-for: 8.8.8.8\r\n\r\n`,
  )
  expectRefusal(answer, 431, 'headers_too_large')
})

it('a body without end that nobody asked for is not gathered', async () => {
  for (const path of ['/ping', '/nowhere', '/backup/log']) {
    const connection = await RawConnection.open(server.port)
    await connection.write(`POST ${path} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n`)
    const answer = connection.answer()
    for (let sent = 0; sent < 64 && !connection.isEnded; sent++) await connection.write(httpChunk(Buffer.alloc(MB)))
    expect(await answer).toMatchObject({ status: 404 })
    connection.close()
  }
})

it('a list of 100,000 files is answered, untouched and in order; one of 200 MB is refused', async () => {
  const files = Array.from({ length: 100_000 }, (_, n) => ({
    path: `file:///var/mobile/Media/DCIM/100APPLE/IMG_${n}.HEIC#YnBsaXN0MDDRAQJf`,
    id: `${n}-1234-5678-9ABC/L0/001`,
    name: `IMG_${n}.HEIC`,
    size: 0,
    created: 1_700_000_000_000 + n,
    more: { n: [n, 1.5, null, 'ü'] },
  }))
  const ignoring = post(server.url, '/photos/new', { device_id: 'a large phone', files })
  const pings = await Promise.all(Array.from({ length: 20 }, () => get(server.url, '/ping')))
  expect(pings.every((ping) => ping.status === 200)).toBe(true)
  const answer = await ignoring
  expect(answer.body.count).toBe(100_000)
  expect(answer.body.new_files).toEqual(files)

  const connection = await RawConnection.open(server.port)
  await connection.write(
    `POST /photos/new HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n`,
  )
  const refusal = connection.answer()
  await connection.write(httpChunk(Buffer.from('{"files":[{"path":"x"}')))
  const piece = httpChunk(Buffer.from(`,{"path":"${'y'.repeat(1000)}"}`.repeat(1000)))
  for (let bytes = 0; bytes < 200 * MB && !connection.isEnded; bytes += piece.length) await connection.write(piece)
  expectRefusal(await refusal, 413, 'payload_too_large')
  connection.close()
})

it('a body in pieces of a single byte is taken as any other', async () => {
  const { boundary, head, tail } = rawUpload()
  await Promise.all(
    [1, 2, 3, 4].map(async () => {
      const connection = await RawConnection.open(server.port)
      await connection.write(uploadHead(boundary))
      await connection.write(httpChunk(head))
      const pieces = Buffer.from('1\r\n\r\r\n'.repeat(20_000))
      for (let sent = 0; sent < 5; sent++) await connection.write(pieces)
      await connection.write(httpChunk(Buffer.from(tail.toString().replace(boundary, 'wrong'))))
      await connection.write(httpChunk(Buffer.alloc(0)))
      expectRefusal(await connection.answer(), 400, 'upload_incomplete')
      connection.close()
    }),
  )
})

it('phones that stop in the middle hold up nobody, and a slow one is waited for', async () => {
  const machines = Array.from({ length: 50 }, (_, n) => `127.0.1.${n}`)
  const stalled = await Promise.all(
    machines.map(async (machine) => {
      const connection = await RawConnection.open(server.port, machine)
      await connection.write(`${uploadHead('b', 1_000_000)}${filePart}first bytes`)
      return connection
    }),
  )
  const silent = await Promise.all(machines.map((machine) => RawConnection.open(server.port, machine)))
  const halfway = await Promise.all(
    machines.map(async (machine) => {
      const connection = await RawConnection.open(server.port, machine)
      await connection.write('GET /ping HTTP/1.1\r\nhost: lo')
      return connection
    }),
  )
  expect((await get(server.url, '/ping')).status).toBe(200)
  expect((await post(server.url, '/photos/new', { files: [] })).status).toBe(200)

  // A checksum that does not fit: the whole of it is read, and nothing kept.
  const { boundary, head, tail } = rawUpload({ sha256: '0'.repeat(64) })
  const whole = Buffer.concat([head, jpeg({ size: 3000 }), tail])
  const slow = await RawConnection.open(server.port)
  await slow.write(uploadHead(boundary, whole.length))
  for (let at = 0; at < whole.length; at += 100) await slow.write(whole.subarray(at, at + 100))
  expectRefusal(await slow.answer(), 422, 'checksum_mismatch')
  for (const connection of [...stalled, ...silent, ...halfway, slow]) connection.close()
})

it('connections that break the protocol and stay are let go of', async () => {
  const open = async () => (await readdir(`/proc/${server.pid}/fd`)).length
  const before = await open()
  const connections = await Promise.all(
    Array.from({ length: 100 }, async (_, n) => {
      const connection = await RawConnection.open(server.port, `127.0.2.${n}`)
      await connection.write('garbage\r\n\r\n')
      expect(await connection.answer()).toMatchObject({ status: 400 })
      return connection
    }),
  )
  // They are still open on this side.
  await until('they are closed on the server’s', async () => (await open()) <= before + 10)
  for (const connection of connections) connection.close()
})

it('fields that are too long, not UTF-8 or of the wrong kind are refused by name', async () => {
  const refused = async (fields: Record<string, string>) => upload(server.url, jpeg({ size: 1000 }), { fields })
  for (const fields of [
    { sha256: 'abc' },
    { created: 'yesterday' },
    { device_id: 'x'.repeat(2000) },
    { asset_id: 'x'.repeat(2000) },
    { original_path: 'x'.repeat(20_000) },
  ]) {
    const answer = await refused(fields)
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request' } })
    expect(answer.body.message).toContain(Object.keys(fields)[0])
  }
})
