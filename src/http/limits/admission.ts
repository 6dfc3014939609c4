/*
 * http/limits/: What one client may have of the server's memory, connections and time, so that all others get theirs.
 */

import type { EventEmitter } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { LIST_BYTES, LIST_WORK, LISTS, LONG_ANSWERS, REQUESTS, TURN_MS, UPLOADS } from '../../base/budgets.ts'
import { AppError } from '../../errors.ts'
import { STALL_MS } from './body.ts'
import { type Holding, Shares } from './shares.ts'

/** What a route has a share of, besides that of all requests. */
type Kind = 'uploads' | 'lists' | 'longAnswers'

declare module 'fastify' {
  interface FastifyInstance {
    /** What lists take in memory: as they came, and while they are worked on. */
    listBytes: Shares
    listWork: Shares
  }
  interface FastifyRequest {
    /** What this request has of shares; given back when it is over. */
    held: Holding[]
  }
  interface FastifyContextConfig {
    /** A request takes one of these for as long as it is under way. */
    takes?: Kind
  }
}

/**
 * Lets requests in, before anything is read of them or done for them: what is beyond an address's share waits for its
 * turn a moment, then is refused with `busy`. A request counts until it is answered and nothing works on it any more,
 * whichever comes last: a client that hangs up does not end its statement. To be called once it is known where requests
 * come from.
 */
export function installAdmission(app: FastifyInstance): void {
  const requests = new Shares(REQUESTS)
  const kinds = {
    uploads: new Shares(UPLOADS),
    lists: new Shares(LISTS),
    longAnswers: new Shares(LONG_ANSWERS),
  } as const satisfies Record<Kind, Shares>
  app.decorate('listBytes', new Shares(LIST_BYTES)).decorate('listWork', new Shares(LIST_WORK))
  app.decorateRequest('held')
  const admitted = new WeakMap<FastifyRequest, () => void>()

  app.addHook('onRequest', async (request, reply) => {
    const { takes, isOwners } = request.routeOptions.config
    if (isOwners) return
    if (takes === 'longAnswers' && isOfAnotherPage(request.headers)) {
      throw new AppError('cross_site', 'This request comes from a page of another server; it may not ask for this.')
    }
    const held = [requests, ...(takes === undefined ? [] : [kinds[takes]])].map((shares) =>
      shares.open(request.clientAddress),
    )
    request.held = held
    const release = () => {
      for (const holding of held) holding.release()
    }
    for (const holding of held) {
      if (holding.take(1) || (holding !== held[0] && (await takesTurn(holding, 1, TURN_MS, reply.raw)))) continue
      release()
      throw busy()
    }
    let open = 2
    const settle = () => {
      if (--open === 0) release()
    }
    admitted.set(request, settle)
    if (reply.raw.closed) settle()
    else reply.raw.once('close', settle)
  })
  app.addHook('onSend', async (request) => {
    // From here on it is the client's turn; a handler may take as long as it does.
    request.raw.socket.setTimeout(STALL_MS)
    admitted.get(request)?.()
    admitted.delete(request)
  })
}

/**
 * Whether a page of another server of this site, such as another port, has this loaded as a picture or the like. What
 * a person opens is none, and what names its `Origin` has been judged by that.
 */
function isOfAnotherPage(headers: IncomingHttpHeaders): boolean {
  const isSameSite = headers['sec-fetch-site'] === 'same-site' && headers.origin === undefined
  return isSameSite && headers['sec-fetch-dest'] !== 'document'
}

/**
 * Takes `amount` more of a share for a request as soon as there is room. Throws `busy` if there is none for `ms` after
 * its address has last given something back, or the client goes away meanwhile.
 */
export async function takeInTurn(
  holding: Holding,
  amount: number,
  ms: number,
  request: IncomingMessage,
): Promise<void> {
  if (!(await takesTurn(holding, amount, ms, request.socket))) throw busy()
}

async function takesTurn(holding: Holding, amount: number, ms: number, client: EventEmitter): Promise<boolean> {
  const over = new AbortController()
  const end = () => over.abort()
  const timer = setTimeout(end, ms)
  client.once('close', end)
  try {
    return await holding.takeInTurn(amount, over.signal, () => timer.refresh())
  } finally {
    clearTimeout(timer)
    client.off('close', end)
  }
}

function busy(): AppError {
  const message = 'Too much is being done for this address, or for all together. Send it again in a moment.'
  return new AppError('busy', message)
}
