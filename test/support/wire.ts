import { once } from 'node:events'
import { type IncomingHttpHeaders, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { endsWithTest } from './ends.ts'
import { formOf, type UploadOptions } from './phone.ts'
import type { TestServer } from './server.ts'

/*
 * Requests that `fetch` can't or won't make: from another address, without headers that it adds by itself, in pieces,
 * or broken.
 */

export interface WireRequest {
  method?: string
  path: string
  headers?: Record<string, string>
  /** Sent in these pieces; several without a content-length go out chunked. */
  body?: Buffer | string | readonly Buffer[]
  /** The loopback address that the request comes from: any of 127.0.0.0/8 will do on Linux. */
  from?: string
}

export interface WireAnswer {
  status: number
  headers: IncomingHttpHeaders
  text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  body: any
}

/** Sends a request with exactly these headers (and `Host`, and what frames the body). */
export async function send(server: Pick<TestServer, 'port'>, wire: WireRequest): Promise<WireAnswer> {
  const { method = 'GET', path, headers = {}, body, from } = wire
  const outgoing = request({
    host: '127.0.0.1',
    port: server.port,
    method,
    path,
    headers,
    agent: false,
    ...(from !== undefined && { localAddress: from }),
  })
  const pieces = body === undefined ? [] : typeof body === 'string' || Buffer.isBuffer(body) ? [body] : body
  const last = pieces.at(-1)
  for (const piece of pieces.slice(0, -1)) outgoing.write(piece)
  if (last === undefined) outgoing.end()
  else outgoing.end(last)
  const [response] = await once(outgoing, 'response')
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  const text = Buffer.concat(chunks).toString('utf8')
  const isJson = text !== '' && String(response.headers['content-type']).startsWith('application/json')
  return { status: response.statusCode, headers: response.headers, text, body: isJson ? JSON.parse(text) : undefined }
}

/** Opens a connection, from that loopback address. */
export async function dial(server: Pick<TestServer, 'port'>, from?: string): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: server.port, ...(from !== undefined && { localAddress: from }) })
  endsWithTest(() => socket.destroy())
  await once(socket, 'connect')
  // The far end may hang up while something is still being sent.
  socket.on('error', () => {})
  return socket
}

/** Writes these bytes on a connection of their own and returns all that comes back until the server hangs up. */
export async function exchange(server: Pick<TestServer, 'port'>, bytes: Buffer | string): Promise<string> {
  const socket = await dial(server)
  socket.setEncoding('utf8')
  socket.write(bytes)
  let text = ''
  for await (const chunk of socket) text += chunk
  return text
}

export { until } from './until.ts'

/** A phone as the server sees it: a model's name and an address. */
export interface Phone {
  /** Lists files; returns the answer's body. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  offer(...files: readonly object[]): Promise<any>
  upload(bytes: Buffer, options?: UploadOptions): Promise<WireAnswer>
}

export function makePhone(server: Pick<TestServer, 'port'>, deviceId: string, from?: string): Phone {
  const source = from === undefined ? {} : { from }
  return {
    async offer(...files) {
      const list = JSON.stringify({ device_id: deviceId, files })
      const headers = { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(list)) }
      const answer = await send(server, { method: 'POST', path: '/photos/new', headers, body: list, ...source })
      if (answer.status !== 200) throw new Error(`/photos/new answered ${answer.status}: ${answer.text}`)
      return answer.body
    },
    async upload(bytes, options = {}) {
      const form = formOf(bytes, { ...options, fields: { device_id: deviceId, ...options.fields } })
      const headers = { 'content-type': form.contentType, 'content-length': String(form.body.length) }
      return send(server, { method: 'POST', path: '/photos/upload', headers, body: form.body, ...source })
    },
  }
}
