import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { driveUsage, type Library } from '../../archive/library.ts'
import { humanSize } from '../../base/human-size.ts'
import { Nullable, Timestamp } from '../../base/shapes.ts'
import { sumBackups } from '../../catalogue/backups.ts'
import { libraryBytes } from '../../catalogue/files.ts'
import { type Remembered, sendJson } from '../remembered.ts'
import { ErrorAnswer, success } from '../schemas.ts'
import type { Service } from '../service.ts'

const Bytes = Type.Integer({ description: 'bytes' })
const Human = Type.String({ description: 'such as 781.25KB' })
const failures = { '4xx': ErrorAnswer, '5xx': ErrorAnswer }

/** How much room there is, and what has been backed up. What can't be known is an error, never an invented number. */
export function storageRoutes(service: Service, remembered: Remembered): FastifyPluginAsyncTypebox {
  return async (app) => {
    app.get(
      '/storage/status',
      {
        schema: {
          summary: 'The drive, and what has been backed up',
          response: {
            200: success({
              storage: Type.Object({
                total_bytes: Bytes,
                used_bytes: Bytes,
                free_bytes: Bytes,
                total_human: Human,
                used_human: Human,
                free_human: Human,
                usage_percent: Type.Number(),
              }),
              backups: Type.Object({
                total_size_bytes: Bytes,
                total_size_human: Human,
                photo_count: Type.Integer({
                  description: 'originals on the drive; what several phones have counts once',
                }),
                video_count: Type.Integer(),
                total_count: Type.Integer(),
                last_backup: Nullable(Timestamp),
              }),
            }),
            ...failures,
          },
        },
      },
      async (_request, reply) => {
        const library = service.library()
        const usage = await driveUsage(library)
        const answer = remembered.answer('/storage/status', () => statusOf(library, usage), basisOf(usage))
        return sendJson(reply, await answer)
      },
    )

    app.get(
      '/storage/usage',
      {
        schema: {
          summary: 'The drive, and how much of it the library takes',
          response: {
            200: success({
              used_bytes: Bytes,
              used_human: Human,
              total_bytes: Bytes,
              total_human: Human,
              available_bytes: Bytes,
              available_human: Human,
              icloud_used_bytes: Type.Integer({ description: 'bytes that the originals in the library take' }),
              icloud_used_human: Human,
            }),
            ...failures,
          },
        },
      },
      async (_request, reply) => {
        const library = service.library()
        const usage = await driveUsage(library)
        const answer = remembered.answer('/storage/usage', () => usageOf(library, usage), basisOf(usage))
        return sendJson(reply, await answer)
      },
    )
  }
}

type Usage = Awaited<ReturnType<typeof driveUsage>>

/** Other programs write to the drive as well; asking the system costs one call that it answers from memory. */
function basisOf({ total, used, free }: Usage): string {
  return `${total} ${used} ${free}`
}

async function statusOf(library: Library, { total, used, free }: Usage) {
  const backups = await sumBackups(library.db, library.now())
  return {
    status: 'success',
    storage: {
      total_bytes: total,
      used_bytes: used,
      free_bytes: free,
      total_human: humanSize(total),
      used_human: humanSize(used),
      free_human: humanSize(free),
      usage_percent: total === 0 ? 0 : Math.round((used / total) * 10_000) / 100,
    },
    backups: {
      total_size_bytes: backups.bytes,
      total_size_human: humanSize(backups.bytes),
      photo_count: backups.photos,
      video_count: backups.videos,
      total_count: backups.photos + backups.videos,
      last_backup: backups.last?.toISOString() ?? null,
    },
  }
}

async function usageOf(library: Library, { total, used, free }: Usage) {
  const taken = await libraryBytes(library.db)
  return {
    status: 'success',
    used_bytes: used,
    used_human: humanSize(used),
    total_bytes: total,
    total_human: humanSize(total),
    available_bytes: free,
    available_human: humanSize(free),
    icloud_used_bytes: taken,
    icloud_used_human: humanSize(taken),
  }
}
