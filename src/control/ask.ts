import { once } from 'node:events'
import { get, type IncomingMessage, request } from 'node:http'
import { createInterface } from 'node:readline'
import { AppError } from '../errors.ts'
import { BEAT_MS, errorOf, type Failure, type Line, SECRET_HEADER } from './line.ts'
import type { Told } from './owner.ts'

/** A server that says nothing for so many beats does not answer any more. */
const LOST_BEATS = 12

/** The server could not be asked, and has begun nothing: it is starting, ending, or gone. */
export class NotAnswered extends Error {}

/** The server has ended, or fallen silent, in the middle of the work. */
export class AnswerLost extends Error {}

/**
 * Has the server behind `door` do the work called `name`, and returns its result. Ends it with `signal`, whose reason
 * it throws. Throws what the server says, `NotAnswered` and `AnswerLost`.
 */
export async function ask<Progress>(
  door: { address: string; secret: string },
  name: string,
  asked: unknown,
  told: Told<Progress>,
  signal: AbortSignal,
): Promise<unknown> {
  const answer = await begin(door, name, asked, signal)
  try {
    if (answer.statusCode !== 200) throw await refusalIn(answer)
    for await (const text of createInterface({ input: answer })) {
      const line = JSON.parse(text) as Line
      if ('progress' in line) told.progress(line.progress as Progress)
      else if ('say' in line) told.say(line.say)
      else if ('error' in line) throw errorOf(line.error)
      else if ('result' in line) return line.result
    }
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof AppError || error instanceof NotAnswered) throw error
    // Cut off in the middle of a line, or of the connection.
  } finally {
    answer.destroy()
  }
  signal.throwIfAborted()
  throw answerLost()
}

function answerLost(): AnswerLost {
  return new AnswerLost(
    'The server has ended, or does not answer any more, before this was done. What was done until then is kept: run the same command again.',
  )
}

/**
 * What `/library/health` of a server that listens on that host and port tells everybody; undefined if none answers.
 * Throws what it refuses with.
 */
export async function askHealth(host: string | undefined, port: number, signal: AbortSignal): Promise<unknown> {
  const asked = get({ host: reachable(host), port, path: '/library/health', agent: false, signal, timeout: BEAT_MS })
  asked.on('timeout', () => asked.destroy())
  try {
    const [answer] = (await once(asked, 'response')) as [IncomingMessage]
    if (answer.statusCode !== 200) throw await refusalIn(answer)
    const { status: _, ...report } = JSON.parse(await textOf(answer)) as Record<string, unknown>
    return report
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof AppError) throw error
    return undefined
  }
}

/** An address under which this machine reaches what listens on `host` itself. */
export function reachable(host: string | undefined): string {
  return host === undefined || host === '::' || host === '0.0.0.0' ? '127.0.0.1' : host
}

async function begin(
  { address, secret }: { address: string; secret: string },
  name: string,
  asked: unknown,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const sent = request(new URL(`/control/${name}`, address), {
    method: 'POST',
    // A connection of its own, and no proxy's: with its end the work ends.
    agent: false,
    signal,
    timeout: LOST_BEATS * BEAT_MS,
    headers: { [SECRET_HEADER]: secret, 'content-type': 'application/json' },
  })
  let isConnected = false
  sent.on('socket', (socket) =>
    socket.once('connect', () => {
      isConnected = true
    }),
  )
  sent.on('timeout', () => sent.destroy())
  sent.end(JSON.stringify(asked))
  try {
    const [answer] = (await once(sent, 'response')) as [IncomingMessage]
    sent.on('error', () => {})
    return answer
  } catch (error) {
    signal.throwIfAborted()
    // Whoever was connected may have begun.
    throw isConnected ? answerLost() : new NotAnswered(error instanceof Error ? error.message : String(error))
  }
}

/** Why it has not begun. */
async function refusalIn(answer: IncomingMessage): Promise<Error> {
  const { code, message } = JSON.parse(await textOf(answer)) as Failure
  // Another one may be listening there by now, or this one ends.
  if (code === 'not_found' || code === 'shutting_down' || code === 'busy') return new NotAnswered(message)
  return errorOf({ code, message })
}

async function textOf(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of answer) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}
