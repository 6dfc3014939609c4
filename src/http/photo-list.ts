import type { IncomingMessage } from 'node:http'
import { setImmediate } from 'node:timers/promises'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import Type from 'typebox'
import type { OfferedFile } from '../catalogue/announce.ts'
import { AppError } from '../errors.ts'
import { consumeBody } from './body.ts'
import { checker, type Finding } from './checker.ts'
import { FileListScanner } from './file-list.ts'
import { readOfferedFile } from './offered-file.ts'
import { PhotoList } from './schemas.ts'

/** A phone's list, with each object as the phone wrote it. */
export interface ReceivedList {
  deviceId: string
  files: OfferedFile[]
  /** The JSON text of each file, byte for byte, in the order of `files`. */
  raw: Buffer[]
  /** What is no file, since it has no path, and stands in none of the two above. */
  invalid: InvalidEntry[]
}

export interface InvalidEntry {
  /** In the list as it was sent. */
  index: number
  /** What is wrong: a sentence. */
  message: string
  /** Its JSON text. */
  raw: Buffer
}

/** Files parsed at a stretch: a few milliseconds, so that a long list holds up nobody. */
const PORTION = 500

const head = checker(Type.Object({ ...PhotoList.properties, files: Type.Array(Type.Unknown()) }))

/**
 * Has the routes of `app` take lists: their bodies are received piece by piece, with each object kept as it was sent. What a script calls
 * its JSON does not matter.
 */
export function takeLists(app: FastifyInstance): void {
  app.addContentTypeParser('*', (request: FastifyRequest) => receivePhotoList(request.raw))
  app.setValidatorCompiler(() => () => true)
}

/** The list that such a route was sent. Throws `invalid_request` if the request has no body. */
export function received(body: unknown): ReceivedList {
  // The parser makes every body one of these.
  if (typeof body === 'object' && body !== null) return body as ReceivedList
  throw invalid('The request has no body; expected {"device_id": "…", "files": [{"path": "…"}, …]}.')
}

/** Receives `{device_id?, files: […]}`. Throws `invalid_request` for anything else, `payload_too_large` beyond 96 MB. */
export async function receivePhotoList(body: IncomingMessage): Promise<ReceivedList> {
  const scanner = new FileListScanner()
  await consumeBody(body, (chunk) => {
    scanner.push(chunk)
    return undefined
  })
  const scanned = scanner.end()
  if (!head.fits(scanned.head)) {
    throw invalid(`The body ${describe(head.finding())}; expected {"device_id": "…", "files": [{"path": "…"}, …]}.`)
  }
  const list: ReceivedList = {
    deviceId: (scanned.head.device_id || 'unknown').toWellFormed(),
    files: [],
    raw: [],
    invalid: [],
  }
  for (const [index, raw] of scanned.files.entries()) {
    if (index % PORTION === 0) await setImmediate()
    const file = readOfferedFile(parse(raw, index))
    if (typeof file === 'string') {
      list.invalid.push({ index, message: `files[${index}] ${file}.`, raw })
    } else {
      list.files.push(file)
      list.raw.push(raw)
    }
  }
  return list
}

function parse(text: Buffer, index: number): unknown {
  try {
    return JSON.parse(text.toString())
  } catch (error) {
    if (error instanceof SyntaxError) throw invalid(`files[${index}] is not valid JSON: ${error.message}.`)
    throw error
  }
}

function describe({ instancePath, message }: Finding): string {
  return instancePath === '' ? message : `has a wrong "${instancePath.slice(1)}": it ${message}`
}

function invalid(message: string): AppError {
  return new AppError('invalid_request', message)
}

/** Joins objects that were received into a JSON array again. */
export function jsonArray(raw: readonly Buffer[]): Buffer[] {
  const comma = Buffer.from(',')
  return [Buffer.from('['), ...raw.flatMap((text, index) => (index === 0 ? [text] : [comma, text])), Buffer.from(']')]
}

/** What an answer says of entries that are no files: nothing if there are none, so that apps that do not know of it never meet it. */
export function invalidJson(invalid: readonly InvalidEntry[]): { invalid?: { index: number; message: string }[] } {
  return invalid.length === 0 ? {} : { invalid: invalid.map(({ index, message }) => ({ index, message })) }
}
