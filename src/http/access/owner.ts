import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { parseAddress } from '../../base/addresses.ts'
import { SECRET_HEADER } from '../../control/line.ts'
import { readForwarding } from './forwarded.ts'

type Strategy = Parameters<FastifyInstance['addConstraintStrategy']>[0]
type Handler = Parameters<ReturnType<Strategy['storage']>['set']>[1]

/**
 * The constraint of routes that are there only for whoever knows the secret: to others, what they ask for is unknown.
 */
export const FOR_OWNERS = { owner: 'yes' }

export function ownersStrategy(secret: string | undefined): Strategy {
  return {
    name: 'owner',
    storage: () => {
      const handlers = new Map<unknown, Handler>()
      return { get: (key) => handlers.get(key) ?? null, set: (key, handler) => handlers.set(key, handler) }
    },
    deriveConstraint: (request) =>
      secret !== undefined && isOwners(request as IncomingMessage, secret) ? FOR_OWNERS.owner : undefined,
  }
}

/**
 * Whether a request comes from this machine itself, through no proxy, and has the secret that only the server's account
 * and root can read. A proxy on this machine speaks from here, too, and for anybody: the secret decides.
 */
function isOwners({ socket, headers }: IncomingMessage, secret: string): boolean {
  const given = headers[SECRET_HEADER]
  return (
    typeof given === 'string' &&
    timingSafeEqual(digest(given), digest(secret)) &&
    isOfThisMachine(socket.remoteAddress, socket.localAddress) &&
    !readForwarding(headers).isProxied
  )
}

function isOfThisMachine(remote: string | undefined, local: string | undefined): boolean {
  if (remote === undefined) return false
  return remote === local || parseAddress(remote)?.range() === 'loopback'
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
