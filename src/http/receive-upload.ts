import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyBaseLogger } from 'fastify'
import type Type from 'typebox'
import { Compile } from 'typebox/compile'
import { markFailed } from '../catalogue/announce.ts'
import { AppError } from '../errors.ts'
import { plausibleCreated } from '../ingest/capture.ts'
import type { Library } from '../ingest/library.ts'
import { type Stored, store } from '../ingest/store.ts'
import { parseChecksum } from '../media/checksum.ts'
import { StagedFile } from '../storage/staging.ts'
import { announcedLength, consumeBody } from './body.ts'
import { boundaryOf, type FilePart, MultipartParser } from './multipart.ts'
import { UploadFields } from './schemas.ts'

/** What the rest of a form may take beside the file, in a length that covers both. */
const FORM_BYTES = 64 * 1024

/** The form as it arrives: known in part, if it ends too early. */
interface Form {
  part: FilePart | undefined
  fields: Map<string, string>
}

/**
 * Receives an upload: streams the file into staging, then has it stored. What can be refused is refused before the body is
 * read. Whatever goes wrong, nothing stays in staging, and the announced row of a failed upload says why.
 */
export async function receiveUpload(
  library: Library,
  request: IncomingMessage,
  response: ServerResponse,
  options: { address: string; maxFileSize: number | undefined; log: FastifyBaseLogger },
): Promise<Stored> {
  const boundary = boundaryOf(request.headers['content-type'])
  const length = announcedLength(request)
  await library.drive.checkLately()
  if (options.maxFileSize !== undefined && length !== undefined && length > options.maxFileSize + FORM_BYTES) {
    throw tooLarge(options.maxFileSize)
  }
  const reservation = await library.space.reserve(length ?? 0)
  const staged = new StagedFile(library.drive, reservation)
  const form: Form = { part: undefined, fields: new Map() }
  try {
    if (request.headers.expect !== undefined) response.writeContinue()
    await readForm(request, boundary, staged, form, options.maxFileSize)
    return await storeForm(library, staged, form, options.address)
  } catch (error) {
    await recordFailure(library, form, options.address, error)
    throw error
  } finally {
    // What can't be removed now is removed at the next start; whether the upload succeeded does not hang on it.
    await staged.discard().catch((error: unknown) => options.log.warn({ err: error }, 'staging could not be cleared'))
  }
}

async function readForm(
  request: IncomingMessage,
  boundary: string,
  staged: StagedFile,
  form: Form,
  maxFileSize: number | undefined,
): Promise<void> {
  const parser = new MultipartParser(boundary, {
    onFileStart: (part) => {
      form.part = part
    },
    onFileData: (bytes) => {
      if (maxFileSize !== undefined && staged.size + bytes.byteLength > maxFileSize) throw tooLarge(maxFileSize)
      staged.write(bytes)
    },
    onFileEnd: () => {},
    onField: (name, value) => {
      form.fields.set(name, value)
    },
  })
  await consumeBody(request, (chunk) => {
    parser.push(chunk)
    return staged.isFull ? staged.drained() : undefined
  })
  parser.end()
}

const fieldsSchema = Compile(UploadFields)

async function storeForm(library: Library, file: StagedFile, form: Form, address: string): Promise<Stored> {
  const { part } = form
  if (part === undefined) {
    throw new AppError('invalid_request', 'The form has no part named "file"; expected the photo or video there.')
  }
  const fields = readFields(form)
  if (file.size === 0) {
    throw new AppError('invalid_request', 'The file is empty: the phone could not read it. Send it again.')
  }
  const staged = file.finish()
  if (fields.sha256 !== undefined && parseChecksum(fields.sha256) !== staged.checksum) {
    throw new AppError(
      'checksum_mismatch',
      `The file was damaged on its way: what arrived has SHA-256 ${staged.checksum}, expected ${fields.sha256}. Send it again.`,
    )
  }
  return store(library, {
    staged,
    deviceId: fields.device_id || 'unknown',
    path: fields.original_path || null,
    assetId: fields.asset_id || null,
    fileName: part.fileName ?? null,
    claimedType: part.mediaType ?? null,
    claimedKind: fields.file_type === 'photo' || fields.file_type === 'video' ? fields.file_type : null,
    created: plausibleCreated(readCreated(fields.created)),
    address,
  })
}

function readFields(form: Form): Type.Static<typeof UploadFields> {
  const fields: Record<string, string> = {}
  for (const [name, value] of form.fields) {
    if (value !== '' && name in UploadFields.properties) fields[name] = value.toWellFormed()
  }
  if (fieldsSchema.Check(fields)) return fields
  const first = fieldsSchema.Errors(fields)[0]
  const name = first?.instancePath.slice(1) ?? ''
  throw new AppError(
    'invalid_request',
    `The field ${name} holds ${JSON.stringify(fields[name]?.slice(0, 100))}; it ${first?.message}.`,
  )
}

/** ms since 1970, as the app has it, or a date as scripts write it. */
function readCreated(text: string | undefined): number | null {
  if (text === undefined) return null
  const value = /^\s*[-+]?[\d.]+(e[-+]?\d+)?\s*$/i.test(text) ? Number(text) : Date.parse(text)
  if (Number.isFinite(value)) return value
  throw new AppError(
    'invalid_request',
    `The field created holds ${JSON.stringify(text.slice(0, 100))}; expected milliseconds since 1970 or a date such as 2024-07-01T12:00:00Z.`,
  )
}

/** An upload failed: says so in the row that was announced for it. The answer tells the failure whether this succeeds or not. */
async function recordFailure(library: Library, form: Form, address: string, error: unknown): Promise<void> {
  if (error instanceof AppError && error.code === 'database_unavailable') return
  const reason = error instanceof AppError ? error.message : 'The server failed unexpectedly; its log says why.'
  const { fields, part } = form
  const upload = {
    deviceId: fields.get('device_id') || 'unknown',
    path: fields.get('original_path') || null,
    assetId: fields.get('asset_id') || null,
    fileName: part?.fileName ?? null,
    address,
  }
  if (upload.path === null && upload.fileName === null) return
  try {
    await markFailed(library.db, upload, reason, library.now())
  } catch (cause) {
    // Without the database there is no row to mark; the file is asked for again either way.
    if (!(cause instanceof AppError && cause.code === 'database_unavailable')) throw cause
  }
}

function tooLarge(maxFileSize: number): AppError {
  return new AppError(
    'file_too_large',
    `The file is larger than MAX_FILE_SIZE allows on this server: at most ${maxFileSize} bytes. Raise that setting to take it.`,
  )
}
