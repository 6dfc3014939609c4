/*
 * http/lists/: A phone's list of up to 10,000 files, cut out of its body entry by entry, so that a list never costs
 * more than its bytes.
 */

import { setImmediate } from 'node:timers/promises'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { FILE_BYTES, LIST_TURN_MS, TURN_MS } from '../../base/budgets.ts'
import { checker, type Finding } from '../../base/checker.ts'
import type { OfferedFile } from '../../catalogue/offered.ts'
import { AppError } from '../../errors.ts'
import { takeInTurn } from '../limits/admission.ts'
import { consumeBody } from '../limits/body.ts'
import { PhotoList } from '../schemas.ts'
import { distinctFiles } from './distinct-files.ts'
import type { Elements, Run } from './elements.ts'
import { FileListScanner } from './file-list.ts'
import { readOfferedFile } from './offered-file.ts'

/** A phone's list, with each object as the phone wrote it. */
export interface ReceivedList {
  deviceId: string
  /** Each once. */
  files: OfferedFile[]
  /** Where each of `files` stands in `elements`. */
  positions: (number | number[])[]
  /** Where more assets of one path stand than any phone has: nothing is known of them. */
  excess: number[]
  /** What is no file, since it has no path. */
  invalid: InvalidEntry[]
  /** Everything that was sent. */
  elements: Elements
  /**
   * To be called when only the answer is left, with the bytes that it holds beside the elements: how slowly it is taken
   * keeps no other list from being compared. The files are gone then.
   */
  endWork(bytes?: number): void
}

export interface InvalidEntry {
  /** In the list as it was sent. */
  index: number
  /** What is wrong: a sentence. */
  message: string
}

/** Files parsed at a stretch, about: a few milliseconds, so that a long list holds up nobody. */
const PORTION = 500

const head = checker(Type.Object({ ...PhotoList.properties, files: Type.Array(Type.Unknown()) }))

/**
 * Has the routes of `app` take lists: their bodies are received piece by piece, with each object kept as it was sent.
 * What a script calls its JSON does not matter.
 */
export function takeLists(app: FastifyInstance): void {
  app.addContentTypeParser('*', (request: FastifyRequest) => receivePhotoList(app, request))
  app.setValidatorCompiler(() => () => true)
}

/** The list that such a route was sent. Throws `invalid_request` if the request has no body. */
export function received(body: unknown): ReceivedList {
  // The parser makes every body one of these.
  if (typeof body === 'object' && body !== null) return body as ReceivedList
  throw invalid('The request has no body; expected {"device_id": "…", "files": [{"path": "…"}, …]}.')
}

/**
 * Receives `{device_id?, files: […]}`. Throws `invalid_request` for anything else, `payload_too_large` beyond 32 MB.
 * What has come is counted among all lists' bytes, whose sender is held back while there are too many, and read when it
 * is its turn; throws `busy` if that does not come.
 */
async function receivePhotoList(app: FastifyInstance, request: FastifyRequest): Promise<ReceivedList> {
  const body = request.raw
  const bytes = app.listBytes.open(request.clientAddress)
  const work = app.listWork.open(request.clientAddress)
  request.held.push(bytes, work)
  let received = 0
  const scanner = new FileListScanner()
  await consumeBody(body, (chunk) => {
    scanner.push(chunk)
    received += chunk.length
    return bytes.take(chunk.length) ? undefined : takeInTurn(bytes, chunk.length, TURN_MS, body)
  })
  const scanned = scanner.end()
  if (!head.fits(scanned.head)) {
    throw invalid(`The body ${describe(head.finding())}; expected {"device_id": "…", "files": [{"path": "…"}, …]}.`)
  }
  const { head: said, files: elements } = scanned
  await takeInTurn(work, received + FILE_BYTES * elements.length, LIST_TURN_MS, body)
  const deviceId = (said.device_id || 'unknown').toWellFormed()
  const list: Entries = { files: [], positions: [], invalid: [] }
  let resting = 0
  for (const run of elements.runs()) {
    if (run.last >= resting) {
      await setImmediate()
      resting = run.last + PORTION
    }
    for (const [offset, value] of parseRun(elements, run).entries()) addTo(list, run.first + offset, value)
  }
  const endWork = (held = 0) => {
    // The files go; where the elements stand is needed until they have been sent.
    request.body = undefined
    work.release(FILE_BYTES * elements.length + held)
  }
  return { deviceId, elements, endWork, invalid: list.invalid, ...distinctFiles(list.files, list.positions) }
}

/** As they came. */
interface Entries {
  files: OfferedFile[]
  positions: number[]
  invalid: InvalidEntry[]
}

function addTo(list: Entries, index: number, value: unknown): void {
  const file = readOfferedFile(value)
  if (typeof file === 'string') {
    list.invalid.push({ index, message: `files[${index}] ${file}.` })
  } else {
    list.files.push(file)
    list.positions.push(index)
  }
}

/** Parses elements that follow each other at once, which takes half as long as one by one. */
function parseRun(elements: Elements, { first, last, text }: Run): unknown[] {
  try {
    return JSON.parse(`[${text}]`)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    // One by one it shows which.
    return Array.from({ length: last - first + 1 }, (_, offset) => parse(elements.at(first + offset), first + offset))
  }
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

/**
 * What an answer says of entries that are no files: nothing if there are none, so that apps that do not know of it
 * never meet it.
 */
export function invalidJson(invalid: readonly InvalidEntry[]): { invalid?: { index: number; message: string }[] } {
  return invalid.length === 0 ? {} : { invalid: invalid.map(({ index, message }) => ({ index, message })) }
}
