import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { acceptFindings } from '../../catalogue/acceptance.ts'
import { forgetDevice } from '../../catalogue/devices.ts'
import { FINDING_KINDS } from '../../catalogue/tables.ts'
import { AppError } from '../../errors.ts'
import { deviceName } from '../../health/problems.ts'
import { FindingEntry, findingEntry, HealthReport, healthReport } from '../../health/report.ts'
import { takeJson } from '../json-body.ts'
import { DeviceId, ErrorAnswer, success } from '../schemas.ts'
import type { Service } from '../service.ts'

const failures = { '4xx': ErrorAnswer, '5xx': ErrorAnswer }
const Text = Type.String({ minLength: 1, maxLength: 16_384, pattern: '^[^\\u0000]*$' })

const Accepting = Type.Object({
  ids: Type.Optional(
    Type.Array(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }), { description: 'numbers of findings' }),
  ),
  paths: Type.Optional(Type.Array(Text, { description: 'in the library, such as 2024/07/IMG_0042.HEIC' })),
  kind: Type.Optional(
    Type.Enum(FINDING_KINDS, {
      description: 'all of a kind: missing, corrupt, unreadable, unknown or sums',
    }),
  ),
})

/** How the backup is, and what a person has to say to that. */
export function healthRoutes(service: Service): FastifyPluginAsyncTypebox {
  return async (app) => {
    takeJson(app)

    // Answers also while the drive is away, and says so; an unhealthy library is a successful answer.
    app.get(
      '/library/health',
      {
        schema: {
          summary: 'Is everything there, intact and up to date?',
          response: { 200: success(HealthReport.properties), ...failures },
        },
      },
      async () => ({ status: 'success' as const, ...healthReport(await service.health()) }),
    )

    app.post(
      '/library/findings/accept',
      {
        config: { takes: 'lists' },
        schema: {
          summary: 'End the alarm about what was found: it is known, and meant to be so',
          body: Accepting,
          response: {
            200: success({ accepted: Type.Array(FindingEntry), accepted_count: Type.Integer() }),
            ...failures,
          },
        },
      },
      async (request) => {
        request.mustBeKeeper()
        const { ids = [], paths = [], kind } = request.body
        if (ids.length + paths.length === 0 && kind === undefined) {
          throw new AppError('invalid_request', 'Nothing is named; expected "ids", "paths" or a "kind" of findings.')
        }
        const named = { ids, paths, kinds: kind === undefined ? [] : [kind] }
        const accepted = await acceptFindings(service.catalogue(), named, new Date())
        service.trouble()
        return { status: 'success' as const, accepted: accepted.map(findingEntry), accepted_count: accepted.length }
      },
    )

    app.post(
      '/devices/forget',
      {
        config: { takes: 'lists' },
        schema: {
          summary: 'Stop waiting for a phone that is not used any more; its photos stay',
          body: Type.Object({ device_id: DeviceId }),
          response: { 200: success({ message: Type.String() }), ...failures },
        },
      },
      async (request) => {
        request.mustBeKeeper()
        const deviceId = request.body.device_id || 'unknown'
        await forgetDevice(service.catalogue(), deviceId, new Date())
        service.trouble()
        return {
          status: 'success' as const,
          message: `${deviceName(deviceId)} is not waited for until it is heard of again`,
        }
      },
    )
  }
}
