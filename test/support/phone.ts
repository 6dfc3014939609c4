import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'

/** What an upload carries beside the bytes. */
export interface UploadOptions {
  /** The file name in the form; null leaves it out. */
  name?: string | null
  type?: string
  fields?: Record<string, string>
}

export interface Answer {
  status: number
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  body: any
  headers: Headers
}

/**
 * The form of an upload as React Native on iOS writes it: the file first, headers in lower case, a 70-character
 * boundary.
 */
export function formOf(bytes: Buffer, { name = 'IMG_0001.HEIC', type = 'image/jpeg', fields = {} }: UploadOptions) {
  const boundary = randomBytes(35).toString('hex')
  const fileName =
    name === null ? '' : `; filename="${name}"; filename*=utf-8''${encodeURIComponent(name).replaceAll("'", '%27')}`
  const parts = [
    Buffer.from(
      `--${boundary}\r\ncontent-disposition: form-data; name="file"${fileName}\r\ncontent-type: ${type}\r\n\r\n`,
    ),
    bytes,
    ...Object.entries(fields).map(([field, value]) =>
      Buffer.from(`\r\n--${boundary}\r\ncontent-disposition: form-data; name="${field}"\r\n\r\n${value}`),
    ),
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ]
  return { body: Buffer.concat(parts), contentType: `multipart/form-data; boundary=${boundary}` }
}

/** Sends a file as the app does. */
export async function upload(url: string, bytes: Buffer, options: UploadOptions = {}): Promise<Answer> {
  const { body, contentType } = formOf(bytes, options)
  return exchange(`${url}/photos/upload`, 'POST', contentType, body)
}

export async function post(url: string, path: string, body: unknown): Promise<Answer> {
  const json = typeof body === 'string' ? body : JSON.stringify(body)
  return exchange(url + path, 'POST', 'application/json', Buffer.from(json))
}

/** The app says that its GETs are JSON, too. */
export async function get(url: string, path: string): Promise<Answer> {
  return exchange(url + path, 'GET', 'application/json')
}

/**
 * One request on a connection of its own, which could be used again: a server hangs up on an idle one when it likes,
 * and that it does so at this very moment would be this client's bad luck.
 */
async function exchange(url: string, method: string, contentType: string, body?: Buffer): Promise<Answer> {
  const agent = new Agent({ keepAlive: true })
  try {
    const headers = { 'content-type': contentType, ...(body && { 'content-length': body.length }) }
    const outgoing = request(url, { method, headers, agent })
    // Who is answered before the body has gone may be hung up on with the rest.
    outgoing.on('error', () => {})
    outgoing.end(body)
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    const answer = JSON.parse(await text(response))
    const entries = Object.entries(response.headers).map(([name, value]): [string, string] => [name, String(value)])
    return { status: response.statusCode ?? 0, body: answer, headers: new Headers(entries) }
  } finally {
    agent.destroy()
  }
}
