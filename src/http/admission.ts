import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { LISTS, LONG_ANSWERS, REQUESTS, TURN_MS, UPLOADS } from '../budgets.ts'
import { AppError } from '../errors.ts'
import { type Holding, Shares } from './shares.ts'

/** What a route has a share of, besides that of all requests. */
type Kind = 'uploads' | 'lists' | 'longAnswers'

declare module 'fastify' {
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
  const admitted = new WeakMap<FastifyRequest, () => void>()

  app.addHook('onRequest', async (request, reply) => {
    const { takes } = request.routeOptions.config
    const held = [requests, ...(takes === undefined ? [] : [kinds[takes]])].map((shares) =>
      shares.open(request.clientAddress),
    )
    const release = () => {
      for (const holding of held) holding.release()
    }
    for (const holding of held) {
      if (holding.take(1) || (holding !== held[0] && (await takesTurn(holding, reply)))) continue
      release()
      throw new AppError(
        'busy',
        'Too much is being done for this address, or for all together. Send it again in a moment.',
      )
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
    admitted.get(request)?.()
    admitted.delete(request)
  })
}

async function takesTurn(holding: Holding, reply: FastifyReply): Promise<boolean> {
  const over = new AbortController()
  const end = () => over.abort()
  const timer = setTimeout(end, TURN_MS)
  reply.raw.once('close', end)
  try {
    return await holding.takeInTurn(1, over.signal)
  } finally {
    clearTimeout(timer)
    reply.raw.off('close', end)
  }
}
