import type { FastifyPluginAsync } from 'fastify'
import { renderDocs } from '../docs-page.ts'

/** The API's own description, for programs and for people. */
export const docsRoutes: FastifyPluginAsync = async (app) => {
  // They never change while the server runs: made at the first question, when all routes are known.
  const json = once(() => Buffer.from(JSON.stringify(app.swagger())))
  const page = once(() => Buffer.from(renderDocs(app.swagger())))
  app.get('/openapi.json', { schema: { summary: 'This API as an OpenAPI 3.1 document' } }, async (_request, reply) =>
    reply.type('application/json; charset=utf-8').send(json()),
  )
  app.get('/docs', { schema: { summary: 'This API as a page to read' } }, async (_request, reply) =>
    reply.type('text/html; charset=utf-8').send(page()),
  )
}

function once<Value>(make: () => Value): () => Value {
  let made: Value | undefined
  return () => {
    made ??= make()
    return made
  }
}
