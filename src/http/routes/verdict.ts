import { setImmediate } from 'node:timers/promises'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { AppError } from '../../errors.ts'
import { KeyedLock } from '../../ingest/keyed-lock.ts'
import type { Library } from '../../ingest/library.ts'
import { judge, type Verdict } from '../../ingest/verdict.ts'
import { received, takeLists } from '../photo-list.ts'
import { ErrorAnswer, Nullable, PhotoEntry, PhotoList, success, Timestamp } from '../schemas.ts'
import type { Service } from '../service.ts'

/** What one request may have read back from the drive while the app waits. */
const READ_BYTES = 1024 ** 3
const READ_MS = 15_000
/** Files written at a stretch, so that a long answer holds up nobody else. */
const PORTION = 500

const Safe = Type.Object({
  safe: Type.Literal(true),
  sha256: Type.String({ description: 'of the original in the library, in hexadecimal' }),
  stored_at: Nullable(Timestamp),
  verified_at: Type.String({
    format: 'date-time',
    description: 'when it was last read back from the drive and intact',
  }),
  copies: Type.Integer({ description: 'drives that have it' }),
})
const InDoubt = Type.Object({
  safe: Type.Literal(false),
  reason: Type.String({
    description:
      'not_backed_up, ignored, pending, failed, not_identified, missing, corrupt, unreadable, not_verified or drive_missing',
  }),
  message: Type.String({ description: 'a sentence for people' }),
})

/** What was sent, and what is known of it. */
const Sent = <Properties extends Type.TProperties>({ properties }: Type.TObject<Properties>) =>
  Type.Object({ ...PhotoEntry.properties, ...properties })

/** `POST /photos/verdict`: may the phone delete these? */
export function verdictRoutes(service: Service): FastifyPluginAsyncTypebox {
  return async (app) => {
    takeLists(app)
    const reading = new KeyedLock()

    app.post(
      '/photos/verdict',
      {
        schema: {
          summary: 'Which of these files are safe here, so that the phone may free up space?',
          body: PhotoList,
          response: {
            200: success({
              files: Type.Array(Type.Union([Sent(Safe), Sent(InDoubt)]), {
                description: 'the objects that were sent, in order, each with what is known of it',
              }),
              safe_count: Type.Integer(),
              count: Type.Integer({ description: 'of files' }),
            }),
            '4xx': ErrorAnswer,
            '5xx': ErrorAnswer,
          },
        },
      },
      async (request, reply) => {
        const { deviceId, files, raw } = received(request.body)
        const court = { db: service.catalogue(), library: libraryOf(service), reading }
        const allowance = { bytes: READ_BYTES, until: performance.now() + READ_MS }
        const verdicts = await judge(court, deviceId, files, allowance)
        const safe = verdicts.filter((verdict) => verdict.safe).length
        const text = await jsonOf(raw, verdicts)
        const answer = `{"status":"success","files":${text},"safe_count":${safe},"count":${verdicts.length}}`
        return reply.type('application/json; charset=utf-8').send(answer as never)
      },
    )
  }
}

/** `undefined` until it has been there once: then nothing is safe, and the catalogue still tells what was never sent. */
function libraryOf(service: Service): Library | undefined {
  try {
    return service.library()
  } catch (error) {
    if (error instanceof AppError) return undefined
    throw error
  }
}

async function jsonOf(raw: readonly Buffer[], verdicts: readonly Verdict[]): Promise<string> {
  const texts: string[] = []
  for (const [index, verdict] of verdicts.entries()) {
    if (index % PORTION === PORTION - 1) await setImmediate()
    texts.push(JSON.stringify({ ...JSON.parse(String(raw[index])), ...verdictJson(verdict) }))
  }
  return `[${texts.join(',')}]`
}

function verdictJson(verdict: Verdict): Type.Static<typeof Safe> | Type.Static<typeof InDoubt> {
  if (!verdict.safe) return verdict
  const { safe, sha256, storedAt, verifiedAt, copies } = verdict
  return { safe, sha256, stored_at: storedAt?.toISOString() ?? null, verified_at: verifiedAt.toISOString(), copies }
}
