import { randomBytes } from 'node:crypto'

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

/** The form of an upload as React Native on iOS writes it: the file first, headers in lower case, a 70-character boundary. */
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

/** A connection for each request: a server that hangs up on an idle one at this very moment would be this client's bad luck. */
const ALONE = { connection: 'close' }

/** Sends a file as the app does. */
export async function upload(url: string, bytes: Buffer, options: UploadOptions = {}): Promise<Answer> {
  const { body, contentType } = formOf(bytes, options)
  return answerOf(
    await fetch(`${url}/photos/upload`, { method: 'POST', body, headers: { 'content-type': contentType, ...ALONE } }),
  )
}

export async function post(url: string, path: string, body: unknown): Promise<Answer> {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return answerOf(
    await fetch(url + path, { method: 'POST', body: text, headers: { 'content-type': 'application/json', ...ALONE } }),
  )
}

/** The app says that its GETs are JSON, too. */
export async function get(url: string, path: string): Promise<Answer> {
  return answerOf(await fetch(url + path, { headers: { 'content-type': 'application/json', ...ALONE } }))
}

async function answerOf(response: Response): Promise<Answer> {
  return { status: response.status, body: await response.json(), headers: response.headers }
}
