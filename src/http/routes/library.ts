import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { HealthReport, healthReport } from '../health-json.ts'
import { ErrorAnswer, success } from '../schemas.ts'
import type { Service } from '../service.ts'

/** `GET /library/health`: answers also while the drive is away, and says so; an unhealthy library is a successful answer. */
export function libraryRoutes(service: Service): FastifyPluginAsyncTypebox {
  return async (app) => {
    app.get(
      '/library/health',
      {
        schema: {
          summary: 'Is everything there, intact and up to date?',
          response: { 200: success(HealthReport.properties), '4xx': ErrorAnswer, '5xx': ErrorAnswer },
        },
      },
      async () => ({ status: 'success' as const, ...healthReport(await service.health()) }),
    )
  }
}
