import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import { endsWithTest } from './ends.ts'
import { freePort } from './ports.ts'

/** A request that a receiver of notifications got. */
export interface Received {
  method: string | undefined
  path: string | undefined
  headers: IncomingHttpHeaders
  body: string
}

/** A receiver of notifications, which can be away and can refuse. */
export interface TestReceiver {
  readonly port: number
  /** What it took, in order. */
  readonly received: readonly Received[]
  /** How many requests it has refused. */
  refused(): number
  /** Answers everything from now on with this status; 200 takes it. */
  answer(status: number, headers?: Record<string, string>): void
  /** Goes away: connections are refused. */
  stop(): Promise<void>
  /** Comes back on the same port. */
  start(): Promise<void>
}

export async function startReceiver(): Promise<TestReceiver> {
  const port = await freePort()
  const received: Received[] = []
  let refused = 0
  let status = 200
  let extra: Record<string, string> = {}
  let server: Server | undefined
  const start = async () => {
    server = createServer(async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk)
      const { method, url: path, headers } = request
      if (status < 300) received.push({ method, path, headers, body: Buffer.concat(chunks).toString() })
      else refused++
      response.writeHead(status, extra).end('taken')
    })
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  }
  await start()
  const stop = async () => {
    server?.closeAllConnections()
    server?.close()
    if (server?.listening) await once(server, 'close')
  }
  endsWithTest(stop)
  return {
    port,
    received,
    refused: () => refused,
    answer: (wanted, headers = {}) => {
      status = wanted
      extra = headers
    },
    stop,
    start,
  }
}
