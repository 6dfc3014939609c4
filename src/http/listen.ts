import type { FastifyInstance } from 'fastify'
import { hasErrno } from '../errors.ts'

/**
 * Listens on `port` (0: any free one) of `host`, or of all addresses, IPv6 and IPv4; of IPv4 alone where the system has
 * no IPv6. Returns the port. Throws what the system says, such as `EADDRINUSE`.
 */
export async function listen(app: FastifyInstance, port: number, host: string | undefined): Promise<number> {
  try {
    await app.listen({ port, host: host ?? '::' })
  } catch (error) {
    if (host !== undefined || !hasErrno(error, 'EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EINVAL')) throw error
    await app.listen({ port, host: '0.0.0.0' })
  }
  const address = app.server.address()
  return typeof address === 'object' && address !== null ? address.port : port
}

/** Takes no new connections and returns when the requests under way have ended, which are cut off after `graceMs`. */
export async function endRequests(app: FastifyInstance, graceMs: number): Promise<void> {
  const cut = setTimeout(() => app.server.closeAllConnections(), graceMs)
  await app.close()
  clearTimeout(cut)
}
