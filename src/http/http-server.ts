import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import { isIn, parseAddress, parseNetwork } from '../base/addresses.ts'
import { CONNECTIONS } from '../base/budgets.ts'
import { Connections, MAX_LEAVING } from './limits/connections.ts'
import { Pipelines } from './limits/pipeline.ts'

/** Node's server with the bounds that it knows itself, and ours on connections and on what waits on each. */
export function createHttpServer(handle: RequestListener, trustedProxies: readonly string[]): Server {
  const proxies = trustedProxies.map(parseNetwork).filter((network) => network !== undefined)
  const isProxy = (text: string) => {
    const address = parseAddress(text)
    return address !== undefined && isIn(proxies, address)
  }
  const pipelines = new Pipelines(handle)
  const connections = new Connections(isProxy)
  const take = (request: IncomingMessage, response: ServerResponse) => {
    if (connections.has(request.socket)) pipelines.take(request, response)
  }
  // Node's own answer to a request without `Host` has no body.
  const options = { requireHostHeader: false, connectionsCheckingInterval: 5_000, maxHeaderSize: 16 * 1024 }
  const server = createServer(options, take)
  server.on('connection', connections.take)
  // Without this, Node would call for the body before anyone has looked at the headers.
  server.on('checkContinue', (request, response) => server.emit('request', request, response))
  // Those in between are told why; beyond, Node hangs up by itself.
  server.maxConnections = CONNECTIONS.all + 2 * MAX_LEAVING
  server.headersTimeout = 30_000
  // An upload takes as long as it takes: bodies are watched on their own, in body.ts.
  server.requestTimeout = 0
  server.keepAliveTimeout = 65_000
  // Node would drop what is over the limit without a word, and with it what tells where a request comes from.
  server.maxHeadersCount = 0
  // A client that says with its last byte that no more will come still waits for its answer: Node would hang up
  // instead.
  return Object.assign(server, { httpAllowHalfOpen: true })
}
