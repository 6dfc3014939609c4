import type { IncomingMessage } from 'node:http'
import { setImmediate } from 'node:timers/promises'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import Type from 'typebox'
import type { OfferedFile } from '../catalogue/announce.ts'
import { AppError } from '../errors.ts'
import { plausibleCreated } from '../ingest/capture.ts'
import { nameOnPhone } from '../ingest/phone-path.ts'
import { parseChecksum } from '../media/checksum.ts'
import { consumeBody } from './body.ts'
import { checker, type Finding } from './checker.ts'
import { FileListScanner } from './file-list.ts'
import { PhotoEntry, PhotoList } from './schemas.ts'

/** A phone's list, with each object as the phone wrote it. */
export interface ReceivedList {
  deviceId: string
  files: OfferedFile[]
  /** The JSON text of each file, byte for byte, in the order of `files`. */
  raw: Buffer[]
}

/** Files parsed at a stretch: a few milliseconds, so that a long list holds up nobody. */
const PORTION = 500

const head = checker(Type.Object({ ...PhotoList.properties, files: Type.Array(Type.Unknown()) }))
const entry = checker(PhotoEntry)

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
  const files: OfferedFile[] = []
  for (const [index, text] of scanned.files.entries()) {
    if (index % PORTION === 0) await setImmediate()
    files.push(toOfferedFile(parse(text, index), index))
  }
  return { deviceId: (scanned.head.device_id || 'unknown').toWellFormed(), files, raw: scanned.files }
}

function parse(text: Buffer, index: number): unknown {
  try {
    return JSON.parse(text.toString())
  } catch (error) {
    if (error instanceof SyntaxError) throw invalid(`files[${index}] is not valid JSON: ${error.message}.`)
    throw error
  }
}

function toOfferedFile(value: unknown, index: number): OfferedFile {
  if (!entry.fits(value)) throw invalid(`files[${index}] ${describe(entry.finding())}.`)
  return {
    path: value.path.toWellFormed(),
    id: value.id == null || value.id === '' ? null : String(value.id).toWellFormed(),
    name: (value.name || nameOnPhone(value.path) || value.path).toWellFormed(),
    kind: value.type === 'video' ? 'video' : 'photo',
    size: Math.round(value.size ?? 0) || null,
    created: plausibleCreated(value.created),
    modified: value.modified ?? null,
    checksum: value.sha256 == null ? null : (parseChecksum(value.sha256) ?? null),
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
