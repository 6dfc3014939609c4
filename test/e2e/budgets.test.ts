import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CONNECTIONS, LISTS, UPLOADS, WAITING_PER_CONNECTION } from '../../src/base/budgets.ts'
import { jpeg } from '../support/media.ts'
import { needs } from '../support/needs.ts'
import { get, upload } from '../support/phone.ts'
import { RawConnection, uploadHead } from '../support/raw-http.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

const GUEST = '127.0.0.66'
/** Each test that waits for a turn that does not come has a guest of its own: they wait together. */
const UPLOADER = '127.0.0.67'
const LISTER = '127.0.0.68'
const PROXY = '127.0.0.77'
const FILE_PART = '--b\r\ncontent-disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'

const loopbackAddresses =
  process.platform === 'linux' ? undefined : 'Linux, where a machine has every address of 127.0.0.0/8'

describe('a guest takes all he can get', needs(loopbackAddresses), () => {
  let server: TestServer
  beforeAll(async () => {
    server = await startServer(await makeFolder(), { TRUST_PROXY: PROXY })
  })
  afterAll(async () => {
    await server.stop()
    await removeFolder(server.folder)
  })

  const open = async (count: number, from = GUEST) =>
    Promise.all(Array.from({ length: count }, () => RawConnection.open(server.port, from)))

  const close = (connections: readonly RawConnection[]) => {
    for (const connection of connections) connection.close()
  }

  let sent = 0

  /** What the phone in the same house sees meanwhile: everything as ever. */
  async function expectPhoneServed(): Promise<void> {
    expect((await get(server.url, '/ping')).status).toBe(200)
    const stored = await upload(server.url, jpeg({ size: 3000 + ++sent }), { name: `IMG_${sent}.JPG` })
    expect(stored.status).toBe(201)
  }

  async function expectBusy(connection: RawConnection | undefined): Promise<void> {
    const answer = await connection?.answer()
    expect(answer?.status).toBe(503)
    expect(Number(answer?.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(answer?.json()).toMatchObject({ status: 'error', code: 'busy' })
  }

  const GET_PING = 'GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n'

  it('an address has its connections; the next one is told so, and everybody else is served', async () => {
    const held = await open(CONNECTIONS.each)
    for (const connection of held) await connection.write(GET_PING)
    for (const connection of held) expect((await connection.answer())?.status).toBe(200)
    const [further] = await open(1)
    await expectBusy(further)
    await further?.ended()
    await expectPhoneServed()
    held.pop()?.close()
    await until('a connection that ended makes room', async () => {
      const [next] = await open(1)
      await next?.write(GET_PING)
      const answer = await next?.answer()
      next?.close()
      return answer?.status === 200
    })
    close(held)
  })

  it('a guest with many addresses leaves room for the phone, which has nothing yet', async () => {
    const addresses = Array.from({ length: CONNECTIONS.all / CONNECTIONS.each }, (_, n) => `127.0.3.${n + 1}`)
    const held = (await Promise.all(addresses.map((address) => open(CONNECTIONS.each, address)))).flat()
    await expectPhoneServed()
    close(held)
  })

  it('what waits on one connection is answered in order; the next request is refused, and the connection ends', async () => {
    const [some, many] = await open(2)
    await some?.write(GET_PING.repeat(1 + WAITING_PER_CONNECTION))
    for (let n = 0; n <= WAITING_PER_CONNECTION; n++) expect((await some?.answer())?.status).toBe(200)
    await many?.write(GET_PING.repeat(2 + WAITING_PER_CONNECTION))
    for (let n = 0; n <= WAITING_PER_CONNECTION; n++) expect((await many?.answer())?.status).toBe(200)
    await expectBusy(many)
    await many?.ended()
    close([some, many].filter((connection) => connection !== undefined))
  })

  it.each(['/openapi.json', '/ping'])('floods of pipelined requests for %s cost no memory', async (path) => {
    const flood = `GET ${path} HTTP/1.1\r\nhost: a.lan\r\n\r\n`.repeat(2_000)
    const guests = await open(20)
    await Promise.all(guests.map((guest) => guest.write(flood)))
    await expectPhoneServed()
    await Promise.all(guests.map((guest) => guest.ended()))
    close(guests)
  })

  it('a page of another server can’t have long answers made, not even as pictures', async () => {
    const ask = async (path: string, headers: Record<string, string>) => {
      const connection = await RawConnection.open(server.port)
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
      await connection.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\n${lines.join('')}\r\n`)
      const answer = await connection.answer()
      connection.close()
      return answer?.status
    }
    for (const path of ['/backup/log?limit=10000', '/photos/ignored']) {
      for (const site of ['cross-site', 'same-site']) {
        const image = { 'sec-fetch-site': site, 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' }
        expect(await ask(path, image)).toBe(403)
      }
      const opened = { 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
      expect(await ask(path, opened)).toBe(200)
      expect(await ask(path, {})).toBe(200)
    }
  })

  it('what the API says of itself is made once', async () => {
    const ask = async () => (await fetch(`${server.url}/openapi.json`)).text()
    expect(await ask()).toBe(await ask())
    expect(JSON.parse(await ask()).openapi).toBe('3.1.0')
    expect(await (await fetch(`${server.url}/docs`)).text()).toContain('<h1>iClood API')
  })

  it.each(['/photos/new', '/photos/verdict'])(
    'who does not take the answer to a long list of %s keeps no other list from being compared',
    async (path) => {
      const listOf = (device: string, count: number, length: number) =>
        `{"device_id":"${device}","files":[${Array(count)
          .fill(`{"path":"${'y'.repeat(length)}"}`)
          .join()}]}`
      const body = listOf('guest', 200_000, 155)
      const [guest] = await open(1)
      if (guest === undefined) throw new Error('no connection')
      const answering = once(guest.socket, 'data')
      await guest.write(`POST ${path} HTTP/1.1\r\nhost: a.lan\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
      const [head] = await answering
      guest.socket.pause()
      expect(String(head)).toMatch(/^HTTP\/1.1 200 /)
      const answer = await fetch(`${server.url}${path}`, { method: 'POST', body: listOf('phone', 12_000, 1_500) })
      expect(answer.status).toBe(200)
      expect(JSON.parse(await answer.text()).count).toBe(12_000)
      close([guest])
    },
    60_000,
  )

  async function uploadsAreBounded(): Promise<void> {
    const stalled = await open(UPLOADS.each, UPLOADER)
    for (const connection of stalled) {
      await connection.write(`${uploadHead('b', 1_000_000, 'expect: 100-continue\r\n')}`)
      await once(connection.socket, 'data')
      await connection.write(`${FILE_PART}first bytes`)
    }
    const [further] = await open(1, UPLOADER)
    await further?.write(uploadHead('b', 1_000_000, 'expect: 100-continue\r\n'))
    await expectBusy(further)
    await expectPhoneServed()
    // Those that end, end their share.
    close(stalled)
    await until('the guest may upload again', async () => {
      const [next] = await open(1, UPLOADER)
      await next?.write(uploadHead('b', 100, 'expect: 100-continue\r\n'))
      const [first] = (await once(next?.socket ?? process, 'data')) as [Buffer]
      next?.close()
      return first.toString().startsWith('HTTP/1.1 100')
    })
  }

  async function listsAreBounded(): Promise<void> {
    const stalled = await open(LISTS.each, LISTER)
    const head = 'POST /photos/new HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\nexpect: 100-continue\r\n\r\n'
    for (const connection of stalled) {
      await connection.write(head)
      await once(connection.socket, 'data')
    }
    const [further] = await open(1, LISTER)
    await further?.write(head)
    await expectBusy(further)
    await expectPhoneServed()
    close(stalled)
  }

  /** An upload that the proxy passes on for `client` and that stops at once: 100 or 503. */
  async function stalledFor(client: string): Promise<{ status: number; connection: RawConnection }> {
    const connection = await RawConnection.open(server.port, PROXY)
    await connection.write(uploadHead('b', 1_000_000, `x-forwarded-for: ${client}\r\nexpect: 100-continue\r\n`))
    const [first] = (await once(connection.socket, 'data')) as [Buffer]
    return { status: Number(first.toString().split(' ')[1]), connection }
  }

  async function networksAreBounded(): Promise<void> {
    const held = await Promise.all(Array.from({ length: UPLOADS.each }, () => stalledFor('fd00::1')))
    expect(held.map(({ status }) => status)).toEqual(held.map(() => 100))
    held.push(await stalledFor('fd00::1'))
    expect(held.at(-1)?.status).toBe(503)
    // A guest who changes his address within the network, as he may.
    for (let n = 2; n < 2 + UPLOADS.each; n++) held.push(await stalledFor(`fd00::${n}`))
    expect(held.at(-1)?.status).toBe(100)
    held.push(await stalledFor('fd00::ffff:1'))
    expect(held.at(-1)?.status).toBe(503)
    for (const client of ['fd00:0:0:1::1', '192.168.1.5']) {
      held.push(await stalledFor(client))
      expect(held.at(-1)?.status).toBe(100)
    }
    close(held.map(({ connection }) => connection))
  }

  // Each has guests of its own, so that they can wait together for a turn that does not come.
  it('an address has its uploads and lists, an IPv6 network those of two; the next are refused before their body', () =>
    Promise.all([uploadsAreBounded(), listsAreBounded(), networksAreBounded()]))
})
