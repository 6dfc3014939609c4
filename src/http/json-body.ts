import type { FastifyInstance } from 'fastify'

const MAX_BYTES = 1024 * 1024

/** Has the routes of `app` take small bodies of JSON, whatever a script calls them. */
export function takeJson(app: FastifyInstance): void {
  const options = { parseAs: 'string', bodyLimit: MAX_BYTES } as const
  app.addContentTypeParser('*', options, app.getDefaultJsonParser('error', 'error'))
}
