import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import type { Library } from '../../archive/library.ts'
import { ASSETS_OF_A_PATH, VERDICT_BYTES } from '../../base/budgets.ts'
import { KeyedLock } from '../../base/keyed-lock.ts'
import { Nullable, Timestamp } from '../../base/shapes.ts'
import { noteSeen } from '../../catalogue/devices.ts'
import { AppError } from '../../errors.ts'
import { judge, type Verdict } from '../../phones/verdict.ts'
import { invalidJson, type ReceivedList, received, takeLists } from '../lists/photo-list.ts'
import { ErrorAnswer, Invalid, PhotoEntry, PhotoList, success } from '../schemas.ts'
import type { Service } from '../service.ts'
import { sendPieces } from '../stream-answer.ts'
import { untilGone } from '../until-gone.ts'

/** What one request may have read back from the drive while the app waits. */
const READ_BYTES = 1024 ** 3
const READ_MS = 15_000

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
      'not_backed_up, ignored, pending, failed, not_identified, missing, corrupt, unreadable, not_verified, drive_missing or invalid',
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
        config: { takes: 'lists' },
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
              invalid: Invalid,
            }),
            '4xx': ErrorAnswer,
            '5xx': ErrorAnswer,
          },
        },
      },
      async (request, reply) => {
        const list = received(request.body)
        const court = { db: service.catalogue(untilGone(request, reply)), library: libraryOf(service), reading }
        const allowance = { bytes: READ_BYTES, until: performance.now() + READ_MS }
        const verdicts = await judge(court, { ...list, address: request.clientAddress }, allowance)
        await noteSeen(court.db, list.deviceId, false, new Date())
        const { elements, positions, excess, invalid } = list
        list.endWork(VERDICT_BYTES * new Set(verdicts).size)
        return sendPieces(reply, answerOf({ elements, positions, excess, invalid }, verdicts))
      },
    )
  }
}

/**
 * `undefined` until it has been there once: then nothing is safe, and the catalogue still tells what was never sent.
 */
function libraryOf(service: Service): Library | undefined {
  try {
    return service.library()
  } catch (error) {
    if (error instanceof AppError) return undefined
    throw error
  }
}

/** What is said of each entry of the list, in its order. */
function* answerOf(
  { elements, positions, excess, invalid }: Pick<ReceivedList, 'elements' | 'positions' | 'excess' | 'invalid'>,
  verdicts: readonly Verdict[],
): Generator<string> {
  const said = new Map<number, Verdict | Type.Static<typeof InDoubt>>()
  for (const [index, verdict] of verdicts.entries()) {
    for (const position of [positions[index] ?? []].flat()) said.set(position, verdict)
  }
  for (const position of excess) said.set(position, EXCESS)
  for (const { index, message } of invalid) said.set(index, invalidVerdict(message))
  yield '{"status":"success","files":['
  for (let index = 0; index < elements.length; index++) {
    const sent: unknown = JSON.parse(elements.at(index).toString())
    // Members of anything but an object would be its numbers, or letters.
    const members = typeof sent === 'object' && !Array.isArray(sent) ? sent : {}
    const verdict = said.get(index)
    const known = verdict === undefined ? {} : verdictJson(verdict)
    yield `${index === 0 ? '' : ','}${JSON.stringify({ ...members, ...known })}`
  }
  const rest = JSON.stringify({
    safe_count: verdicts.flatMap(({ safe }, index) => (safe ? (positions[index] ?? []) : [])).length,
    count: elements.length,
    ...invalidJson(invalid),
  })
  yield `],${rest.slice(1)}`
}

const EXCESS: Type.Static<typeof InDoubt> = {
  safe: false,
  reason: 'not_identified',
  message: `The list has more than ${ASSETS_OF_A_PATH} different files under this path; nothing can be said of all of them.`,
}

/** What has no path is no file that could be safe. */
function invalidVerdict(message: string): Type.Static<typeof InDoubt> {
  return { safe: false, reason: 'invalid', message }
}

function verdictJson(
  verdict: Verdict | Type.Static<typeof InDoubt>,
): Type.Static<typeof Safe> | Type.Static<typeof InDoubt> {
  if (!verdict.safe) return verdict
  const { safe, sha256, storedAt, verifiedAt, copies } = verdict
  return { safe, sha256, stored_at: storedAt?.toISOString() ?? null, verified_at: verifiedAt.toISOString(), copies }
}
