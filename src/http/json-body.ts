import { promisify } from 'node:util'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { AppError } from '../errors.ts'
import { consumeBody } from './limits/body.ts'

const MAX_BYTES = 1024 * 1024

/** Has the routes of `app` take small bodies of JSON, whatever a script calls them. */
export function takeJson(app: FastifyInstance): void {
  const parse = promisify(app.getDefaultJsonParser('error', 'error'))
  app.addContentTypeParser('*', async (request: FastifyRequest) => {
    const chunks: Buffer[] = []
    let bytes = 0
    await consumeBody(request.raw, (chunk) => {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes > MAX_BYTES) throw new AppError('payload_too_large', `The body is over ${MAX_BYTES} bytes.`)
      return undefined
    })
    return parse(request, Buffer.concat(chunks).toString())
  })
}
