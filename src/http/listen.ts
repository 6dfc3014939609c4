import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { hasErrno } from '../errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** What listens on further addresses. */
    doors: Server[]
  }
}

/**
 * Listens on `port` (0: any free one) of `host`, or of all addresses, IPv6 and IPv4; of IPv4 alone where the system has
 * no IPv6. Returns the port. Throws what the system says, such as `EADDRINUSE`.
 */
export async function listen(app: FastifyInstance, port: number, host: string | undefined): Promise<number> {
  const [first, ...others] = host === 'localhost' ? await addressesOf(host) : [host ?? '::']
  try {
    await app.listen({ port, host: first ?? '127.0.0.1' })
  } catch (error) {
    if (host !== undefined || !hasErrno(error, 'EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EINVAL')) throw error
    await app.listen({ port, host: '0.0.0.0' })
  }
  const address = app.server.address()
  const actual = typeof address === 'object' && address !== null ? address.port : port
  for (const other of others) await listenToo(app, actual, other)
  return actual
}

async function addressesOf(host: string): Promise<string[]> {
  const found = await lookup(host, { all: true })
  return found.map(({ address }) => address)
}

/** Hands the connections to another address of this machine to `app`, with all its bounds. */
async function listenToo(app: FastifyInstance, port: number, host: string): Promise<void> {
  const door = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => app.server.emit('connection', socket))
  try {
    await once(door.listen(port, host), 'listening')
    app.doors.push(door)
  } catch {
    // A name may have addresses that this machine does not.
  }
}

/** Takes no new connections and returns when the requests under way have ended, which are cut off after `graceMs`. */
export async function endRequests(app: FastifyInstance, graceMs: number): Promise<void> {
  const cut = setTimeout(() => app.server.closeAllConnections(), graceMs)
  const doorsClosed = app.doors.map((door) => once(door.close(), 'close'))
  await app.close()
  await Promise.all(doorsClosed)
  clearTimeout(cut)
}
