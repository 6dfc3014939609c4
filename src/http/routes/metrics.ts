import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Gauge, type Registry } from 'prom-client'
import { AppError } from '../../errors.ts'
import { libraryMetrics } from '../metrics/library-metrics.ts'
import type { Service } from '../service.ts'

/** `GET /metrics`: for Prometheus. Without the database it still says what the server itself knows. */
export function metricsRoutes(service: Service, registry: Registry): FastifyPluginAsyncTypebox {
  return async (app) => {
    const database = new Gauge({
      name: 'iclood_database_up',
      help: 'Whether the database can be reached.',
      registers: [registry],
    })
    app.get(
      '/metrics',
      { schema: { summary: 'Figures for Prometheus, in its text format' } },
      async (_request, reply) => {
        const known = await libraryFigures(service)
        database.set(Number(known !== undefined))
        return reply.type(registry.contentType).send((await registry.metrics()) + (known ?? ''))
      },
    )
  }
}

/** `undefined` while the database is away. */
async function libraryFigures(service: Service): Promise<string | undefined> {
  try {
    return await libraryMetrics(await service.health()).metrics()
  } catch (error) {
    if (error instanceof AppError && error.code === 'database_unavailable') return undefined
    throw error
  }
}
