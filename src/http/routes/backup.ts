import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { Nullable, Timestamp } from '../../base/shapes.ts'
import { shown } from '../../base/shown.ts'
import {
  type Backup as BackupRow,
  countBackups,
  listBackupIds,
  listBackups,
  readBackups,
} from '../../catalogue/backups.ts'
import type { Database } from '../../catalogue/connection.ts'
import { AppError } from '../../errors.ts'
import { backupJson } from '../backup-json.ts'
import { type Remembered, sendJson } from '../remembered.ts'
import { Backup, BackupStatus, DeviceFilter, ErrorAnswer, success } from '../schemas.ts'
import type { Service } from '../service.ts'
import { jsonArray, sendPieces } from '../stream-answer.ts'
import { untilGone } from '../until-gone.ts'

const MAX_LIMIT = 10_000
const HISTORY_LENGTH = 100
const failures = { '4xx': ErrorAnswer, '5xx': ErrorAnswer }

/** What has been backed up, and what failed. */
export function backupRoutes(service: Service, remembered: Remembered): FastifyPluginAsyncTypebox {
  return async (app) => {
    app.get(
      '/backup/log',
      {
        config: { takes: 'longAnswers' },
        schema: {
          summary: 'What was backed up and what failed, newest first',
          querystring: Type.Object({
            limit: Type.Integer({ minimum: 0, maximum: MAX_LIMIT, default: 100 }),
            offset: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: 0 }),
            device_id: Type.Optional(DeviceFilter),
            status: Type.Optional(BackupStatus),
            before: Type.Optional(Type.String({ description: 'only what is earlier: ISO 8601, or ms since 1970' })),
            after: Type.Optional(Type.String({ description: 'only what is later: ISO 8601, or ms since 1970' })),
          }),
          response: {
            200: success({
              backups: Type.Array(Backup),
              count: Type.Integer({ description: 'of backups' }),
              total: Type.Integer({
                description: 'of all that fit, without limit and offset, whoever has announced them',
              }),
            }),
            ...failures,
          },
        },
      },
      async (request, reply) => {
        const { limit, offset, status } = request.query
        const deviceId = request.query.device_id || undefined
        const before = readTime('before', request.query.before)
        const after = readTime('after', request.query.after)
        const filter = { deviceId, status, before, after }
        const address = request.clientAddress
        const catalogue = service.catalogue(untilGone(request, reply))
        const total = await countBackups(catalogue, filter)
        // Nothing to be found is the one thing that would have to be looked for everywhere.
        const ids = total === 0 ? [] : await listBackupIds(catalogue, { ...filter, limit, offset, address })
        const read = (some: readonly number[]) => readBackups(catalogue, some)
        return sendPieces(reply, logOf(ids, read, total))
      },
    )

    app.get(
      '/backup/history',
      {
        schema: {
          summary: `The last ${HISTORY_LENGTH} backups`,
          response: {
            200: success({
              history: Type.Array(
                Type.Object({
                  id: Type.Integer(),
                  file_name: Type.String(),
                  file_type: Type.String(),
                  file_size: Nullable(Type.Integer()),
                  device_id: Nullable(Type.String()),
                  timestamp: Nullable(Timestamp),
                  status: Type.String(),
                }),
              ),
            }),
            ...failures,
          },
        },
      },
      async (_request, reply) => {
        const catalogue = service.catalogue()
        return sendJson(reply, await remembered.answer('/backup/history', () => historyOf(catalogue)))
      },
    )
  }
}

async function historyOf(catalogue: Database) {
  const rows = await listBackups(catalogue, { limit: HISTORY_LENGTH, offset: 0, status: 'Completed' })
  const history = rows.map(({ id, file_name, file_type, file_size, device_id, timestamp, status }) => {
    const times = { timestamp: timestamp?.toISOString() ?? null }
    return { id, file_name: shown(file_name), file_type, file_size, device_id, ...times, status }
  })
  return { status: 'success', history }
}

async function* logOf(
  ids: readonly number[],
  read: (ids: readonly number[]) => Promise<readonly BackupRow[]>,
  total: number,
): AsyncGenerator<string> {
  yield '{"status":"success","backups":'
  const count = yield* jsonArray(ids, read, backupJson)
  yield `,"count":${count},"total":${total}}`
}

/** A `+` that was not escaped in the query arrives as a space: `2024-07-01T00:00:00 02:00`. */
function readTime(name: string, text: string | undefined): Date | undefined {
  if (text === undefined) return undefined
  const time = new Date(/^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text.replace(/ (?=\d\d:?\d\d$)/, '+'))
  // PostgreSQL knows no times before 4713 BC.
  if (time.getUTCFullYear() >= 0 && time.getUTCFullYear() <= 9999) return time
  throw new AppError(
    'invalid_request',
    `${name} holds ${JSON.stringify(text.slice(0, 100))}; expected a time such as 2024-07-01T00:00:00Z.`,
  )
}
