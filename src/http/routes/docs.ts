import type { FastifyPluginAsync } from 'fastify'
import { renderDocs } from '../docs-page.ts'

/** The API's own description, for programs and for people. */
export const docsRoutes: FastifyPluginAsync = async (app) => {
  app.get('/openapi.json', { schema: { summary: 'This API as an OpenAPI 3.1 document' } }, async () => app.swagger())
  app.get('/docs', { schema: { summary: 'This API as a page to read' } }, async (_request, reply) =>
    reply.type('text/html; charset=utf-8').send(renderDocs(app.swagger())),
  )
}
