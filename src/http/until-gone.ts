import type { FastifyReply, FastifyRequest } from 'fastify'

/**
 * From when a client says that it sends no more until it is asked whether it still listens, and between two questions.
 */
const PROBE_MS = 1_000

/**
 * Aborts when the client of a request has gone before it was answered.
 *
 * Who half-closes its connection behind the request and waits looks like who has hung up, until something is sent: then
 * the system of the one who has hung up says so. So once a client has closed its side, an answer that takes long sends
 * `102 Processing` ahead (RFC 2518, 10.1), which clients pass over (RFC 9110, 15.2).
 */
export function untilGone({ raw: request }: FastifyRequest, { raw: response }: FastifyReply): AbortSignal {
  const gone = new AbortController()
  const { socket } = request
  let probing: NodeJS.Timeout | undefined
  const probe = () => {
    if (request.httpVersion === '1.0') return
    probing = setInterval(() => {
      if (!response.headersSent) response.writeProcessing()
    }, PROBE_MS)
  }
  if (socket.readableEnded) probe()
  else socket.once('end', probe)
  response.once('close', () => {
    clearInterval(probing)
    socket.off('end', probe)
    if (!response.writableFinished) gone.abort()
  })
  if (response.destroyed || socket.destroyed) gone.abort()
  return gone.signal
}
