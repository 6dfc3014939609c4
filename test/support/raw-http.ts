import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { endsWithTest } from './ends.ts'

/** An answer as it came over the wire. */
export interface RawAnswer {
  status: number
  /** Names in lower case. */
  headers: Map<string, string>
  text: string
  /** The text, parsed. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  json(): any
}

/** A connection to the server on which a test writes what it likes, when it likes. */
export class RawConnection {
  readonly socket: Socket
  #received = Buffer.alloc(0)
  #ended = false
  #wake = () => {}

  private constructor(socket: Socket) {
    this.socket = socket
    const ended = () => {
      this.#ended = true
      this.#wake()
    }
    socket.on('data', (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk])
      this.#wake()
    })
    // A server that hangs up on hostile input may do so with a reset.
    socket.on('end', ended).on('close', ended).on('error', ended)
  }

  /** `from` is the machine that connects: on Linux, any address of 127.0.0.0/8 is one. */
  static async open(port: number, from = '127.0.0.1'): Promise<RawConnection> {
    const socket = connect({ port, host: '127.0.0.1', localAddress: from })
    await once(socket, 'connect')
    endsWithTest(() => socket.destroy())
    return new RawConnection(socket)
  }

  get isEnded(): boolean {
    return this.#ended
  }

  /** Resolves when the system has taken the bytes, or the connection is over. */
  async write(bytes: Buffer | string): Promise<void> {
    if (this.#ended || this.socket.destroyed) return
    if (this.socket.write(bytes)) return
    await new Promise<void>((resolve) => {
      const done = () => {
        this.socket.off('drain', done).off('close', done)
        resolve()
      }
      this.socket.on('drain', done).on('close', done)
    })
  }

  /** The next final answer; undefined if the server hangs up without one. */
  async answer(): Promise<RawAnswer | undefined> {
    for (;;) {
      const answer = this.#parse()
      if (answer !== undefined && answer.status >= 200) return answer
      if (answer !== undefined) continue
      if (this.#ended) return undefined
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** Resolves when the server has hung up. */
  async ended(): Promise<void> {
    while (!this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** Goes away as a phone does that leaves the house: without a word. */
  reset(): void {
    this.socket.resetAndDestroy()
  }

  close(): void {
    this.socket.destroy()
  }

  #parse(): RawAnswer | undefined {
    const end = this.#received.indexOf('\r\n\r\n')
    if (end < 0) return undefined
    const [first = '', ...lines] = this.#received.toString('latin1', 0, end).split('\r\n')
    const headers = new Map(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
    )
    const status = Number(first.split(' ')[1])
    const length = status < 200 || status === 204 ? 0 : Number(headers.get('content-length') ?? 0)
    if (this.#received.length < end + 4 + length) return undefined
    const text = this.#received.toString('utf8', end + 4, end + 4 + length)
    this.#received = this.#received.subarray(end + 4 + length)
    return { status, headers, text, json: () => JSON.parse(text) }
  }
}

/** The parts of an upload to be written one by one: `head` up to the file's first byte, `tail` from behind its last. */
export function rawUpload(
  fields: Record<string, string> = {},
  name = 'IMG_0001.JPG',
): { boundary: string; head: Buffer; tail: Buffer } {
  const boundary = randomBytes(35).toString('hex')
  const head = Buffer.from(
    `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="${name}"\r\ncontent-type: image/jpeg\r\n\r\n`,
  )
  const rest = Object.entries(fields).map(
    ([field, value]) => `\r\n--${boundary}\r\ncontent-disposition: form-data; name="${field}"\r\n\r\n${value}`,
  )
  return { boundary, head, tail: Buffer.from(`${rest.join('')}\r\n--${boundary}--\r\n`) }
}

/** The request line and headers of an upload; without a length its body is chunked. */
export function uploadHead(boundary: string, length?: number, more = ''): string {
  const size = length === undefined ? 'transfer-encoding: chunked' : `content-length: ${length}`
  return `POST /photos/upload HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=${boundary}\r\n${size}\r\n${more}\r\n`
}

/** One chunk of a chunked body; an empty one ends the body. */
export function httpChunk(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])
}
