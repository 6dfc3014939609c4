/*
 * http/routes/: One file for each group of routes: what it is asked, which room below does it, what it answers.
 */

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { ASSETS_OF_A_PATH } from '../../base/budgets.ts'
import { Nullable, Timestamp } from '../../base/shapes.ts'
import { shown } from '../../base/shown.ts'
import { noteSeen } from '../../catalogue/devices.ts'
import { type IgnoredFile, listIgnoredIds, readIgnored } from '../../catalogue/ignored.ts'
import { AppError } from '../../errors.ts'
import { ignore, unignore } from '../../phones/ignore.ts'
import { offer } from '../../phones/offer.ts'
import { backupJson } from '../backup-json.ts'
import { invalidJson, type ReceivedList, received, takeLists } from '../lists/photo-list.ts'
import type { UploadMetrics } from '../metrics/upload-metrics.ts'
import { receiveUpload } from '../receive-upload.ts'
import { Backup, DeviceFilter, ErrorAnswer, Invalid, PhotoEntry, PhotoList, success, UploadFields } from '../schemas.ts'
import type { Service } from '../service.ts'
import { jsonArray, sendPieces } from '../stream-answer.ts'
import { untilGone } from '../until-gone.ts'

/** The lists that phones send: which of my files do you want, and which shall be left alone? */
export function listRoutes(service: Service): FastifyPluginAsyncTypebox {
  return async (app) => {
    takeLists(app)
    const failures = { '4xx': ErrorAnswer, '5xx': ErrorAnswer }

    app.post(
      '/photos/new',
      {
        config: { takes: 'lists' },
        schema: {
          summary: 'Which of these files shall be sent?',
          body: PhotoList,
          response: {
            200: success({
              new_files: Type.Array(PhotoEntry, { description: 'the objects that were sent, untouched' }),
              count: Type.Integer({ description: 'of new_files' }),
              ignored_files: Type.Array(PhotoEntry),
              backed_up_count: Type.Integer(),
              invalid: Invalid,
            }),
            ...failures,
          },
        },
      },
      async (request, reply) => {
        const { deviceId, files, positions, excess, elements, invalid, endWork } = received(request.body)
        await service.roomForRows()
        const { drive, now } = service.library()
        const db = service.catalogue(untilGone(request, reply))
        const sorted = await offer({ db, drive, now }, deviceId, request.clientAddress, files)
        await noteSeen(db, deviceId, files.length > 0, now())
        const entriesOf = (indexes: readonly number[]) => indexes.flatMap((index) => positions[index] ?? [])
        // Of what is too much nothing is known: to be asked for twice loses nothing.
        const wanted = inOrder([...entriesOf(sorted.new), ...excess])
        const ignored = inOrder(entriesOf(sorted.ignored))
        const backedUp = elements.length - invalid.length - wanted.length - ignored.length
        endWork()
        // Bytes in the shape of the schema: parsing the objects to write them again would change them.
        return sendPieces(reply, [
          '{"status":"success","new_files":',
          ...elements.array(wanted),
          `,"count":${wanted.length},"ignored_files":`,
          ...elements.array(ignored),
          `,"backed_up_count":${backedUp}`,
          invalid.length === 0 ? '}' : `,${JSON.stringify(invalidJson(invalid)).slice(1)}`,
        ])
      },
    )

    app.post(
      '/photos/ignore',
      {
        config: { takes: 'lists' },
        schema: {
          summary: 'Do not ask for these files any more',
          body: PhotoList,
          response: {
            200: success({
              message: Type.String(),
              ignored_count: Type.Integer({ description: 'newly ignored' }),
              invalid: Invalid,
            }),
            ...failures,
          },
        },
      },
      async (request, reply) => {
        const { deviceId, files, invalid } = nonEmpty(received(request.body))
        const db = service.catalogue(untilGone(request, reply))
        const context = { db, now: () => new Date() }
        const { count, acceptsLoss } = await ignore(context, deviceId, request.clientAddress, files)
        if (acceptsLoss) service.trouble()
        const message = `${count} files marked as ignored`
        return { status: 'success' as const, message, ignored_count: count, ...invalidJson(invalid) }
      },
    )

    app.post(
      '/photos/unignore',
      {
        config: { takes: 'lists' },
        schema: {
          summary: 'Ask for these files again',
          body: PhotoList,
          response: {
            200: success({ message: Type.String(), unignored_count: Type.Integer(), invalid: Invalid }),
            ...failures,
          },
        },
      },
      async (request, reply) => {
        const { deviceId, files, invalid } = nonEmpty(received(request.body))
        const count = await unignore(service.catalogue(untilGone(request, reply)), deviceId, files)
        const message = `${count} files no longer ignored`
        return { status: 'success' as const, message, unignored_count: count, ...invalidJson(invalid) }
      },
    )
  }
}

function inOrder(positions: number[]): number[] {
  return positions.sort((a, b) => a - b)
}

function nonEmpty(list: ReceivedList): ReceivedList {
  if (list.excess.length > 0) {
    throw new AppError(
      'invalid_request',
      `The list has more than ${ASSETS_OF_A_PATH} different files under one path (files[${list.excess[0]}]); expected one, or a few.`,
    )
  }
  if (list.files.length + list.invalid.length > 0) return list
  throw new AppError('invalid_request', 'The list of files is empty; expected at least one.')
}

/** What is ignored. */
export function ignoredRoutes(service: Service): FastifyPluginAsyncTypebox {
  return async (app) => {
    app.get(
      '/photos/ignored',
      {
        config: { takes: 'longAnswers' },
        schema: {
          summary: 'Which files are ignored?',
          querystring: Type.Object({ device_id: Type.Optional(DeviceFilter) }),
          response: {
            200: success({
              ignored_files: Type.Array(
                Type.Object({
                  id: Type.Integer(),
                  file_name: Type.String(),
                  path: Type.String({ description: 'as /photos/unignore takes it' }),
                  original_path: Type.String(),
                  asset_id: Nullable(Type.String({ description: 'only for the address that has ignored it' })),
                  device_id: Nullable(Type.String()),
                  timestamp: Nullable(Timestamp),
                }),
              ),
              count: Type.Integer(),
            }),
            '4xx': ErrorAnswer,
            '5xx': ErrorAnswer,
          },
        },
      },
      async (request, reply) => {
        const catalogue = service.catalogue(untilGone(request, reply))
        const ids = await listIgnoredIds(catalogue, request.query.device_id || undefined)
        return sendPieces(
          reply,
          ignoredOf(ids, (some) => readIgnored(catalogue, request.clientAddress, some)),
        )
      },
    )
  }
}

async function* ignoredOf(
  ids: readonly number[],
  read: (ids: readonly number[]) => Promise<readonly IgnoredFile[]>,
): AsyncGenerator<string> {
  yield '{"status":"success","ignored_files":'
  const count = yield* jsonArray(ids, read, (row) => ({
    ...row,
    file_name: shown(row.file_name),
    path: row.original_path,
    timestamp: row.timestamp?.toISOString() ?? null,
  }))
  yield `,"count":${count}}`
}

/** The files themselves. */
export function uploadRoutes(
  service: Service,
  maxFileSize: number | undefined,
  metrics: UploadMetrics,
): FastifyPluginAsyncTypebox {
  return async (app) => {
    // The body stays a stream; see receive-upload.ts.
    app.addContentTypeParser('multipart/form-data', (_request, _payload, done) => done(null))
    app.setValidatorCompiler(() => () => true)
    const answer = success({ message: Type.String(), backup: Backup })

    app.post(
      '/photos/upload',
      {
        config: { asksForBody: true, takes: 'uploads' },
        schema: {
          summary: 'Back up a photo or video',
          consumes: ['multipart/form-data'],
          body: Type.Object({ file: Type.String({ format: 'binary' }), ...UploadFields.properties }),
          response: { 200: answer, 201: answer, '4xx': ErrorAnswer, '5xx': ErrorAnswer },
        },
      },
      async (request, reply) => {
        const began = performance.now()
        const upload = {}
        service.uploads.add(upload)
        try {
          await service.roomForRows()
          const { backup, isNew } = await receiveUpload(service.library(), request.raw, reply.raw, {
            address: request.clientAddress,
            maxFileSize,
            log: request.log,
          })
          metrics.succeeded(isNew ? 'created' : 'duplicate', backup.file_size ?? 0, performance.now() - began)
          service.arrived({ deviceId: backup.device_id, kind: backup.file_type === 'video' ? 'video' : 'photo', isNew })
          reply.code(isNew ? 201 : 200)
          const message = isNew ? 'File uploaded successfully' : 'File already backed up'
          return { status: 'success' as const, message, backup: backupJson(backup) }
        } catch (error) {
          metrics.refused(error instanceof AppError ? error.code : 'internal_error')
          throw error
        } finally {
          service.uploads.delete(upload)
        }
      },
    )
  }
}
