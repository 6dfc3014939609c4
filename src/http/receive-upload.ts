import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyBaseLogger } from 'fastify'
import type Type from 'typebox'
import type { Library } from '../archive/library.ts'
import { checker } from '../base/checker.ts'
import { AppError } from '../errors.ts'
import { parseChecksum } from '../media/checksum.ts'
import { nameOnPhone } from '../upload/phone-path.ts'
import { type Description, type Reception, receive } from '../upload/receive.ts'
import type { Stored } from '../upload/store.ts'
import { announcedLength, consumeBody } from './limits/body.ts'
import { lastHolder } from './limits/shares.ts'
import { boundaryOf, type FilePart, MultipartParser } from './multipart/multipart.ts'
import { surerName } from './multipart/multipart-headers.ts'
import { readTime } from './read-time.ts'
import { UploadFields } from './schemas.ts'

/** The form as it arrives: known in part, if it ends too early. */
interface Form {
  part: FilePart | undefined
  fields: Map<string, string>
}

/**
 * Receives an upload: streams the file into staging, then has it stored. What can be refused is refused before the body
 * is read. Whatever goes wrong, nothing stays in staging, and the announced row of a failed upload says why.
 */
export async function receiveUpload(
  library: Library,
  request: IncomingMessage,
  response: ServerResponse,
  options: { address: string; maxFileSize: number | undefined; log: FastifyBaseLogger },
): Promise<Stored> {
  const { address, maxFileSize, log } = options
  const boundary = boundaryOf(request.headers['content-type'])
  const reception = await receive(library, announcedLength(request), maxFileSize, lastHolder(address))
  const form: Form = { part: undefined, fields: new Map() }
  try {
    if (request.headers.expect !== undefined) response.writeContinue()
    await readForm(request, boundary, reception, form)
    return await reception.store(describe(form, address))
  } catch (error) {
    await reception.recordFailure(
      {
        deviceId: form.fields.get('device_id') || 'unknown',
        path: form.fields.get('original_path') || null,
        assetId: form.fields.get('asset_id') || null,
        created: readTime(form.fields.get('created')) ?? null,
        fileName: form.part?.fileName ?? null,
        address,
      },
      error,
    )
    throw error
  } finally {
    // What can't be removed now is removed at the next start; whether the upload succeeded does not hang on it.
    await reception.discard().catch((error: unknown) => log.warn({ err: error }, 'staging could not be cleared'))
  }
}

async function readForm(request: IncomingMessage, boundary: string, reception: Reception, form: Form): Promise<void> {
  const parser = new MultipartParser(boundary, {
    onFileStart: (part) => {
      form.part = part
    },
    onFileData: reception.write,
    onFileEnd: () => {},
    onField: (name, value) => {
      // Others are nobody's, and would be kept in memory for as long as the upload takes.
      if (Object.hasOwn(UploadFields.properties, name)) form.fields.set(name, value)
    },
  })
  await consumeBody(request, (chunk) => {
    parser.push(chunk)
    return reception.drained()
  })
  parser.end()
}

const known = checker(UploadFields)

/** Throws `invalid_request` if the form has no file, or a field that can't be read. */
function describe(form: Form, address: string): Description {
  const { part } = form
  if (part === undefined) {
    throw new AppError('invalid_request', 'The form has no part named "file"; expected the photo or video there.')
  }
  const fields = readFields(form)
  const path = fields.original_path || null
  return {
    checksum: fields.sha256 === undefined ? null : (parseChecksum(fields.sha256) ?? null),
    deviceId: fields.device_id || 'unknown',
    path,
    assetId: fields.asset_id || null,
    fileName: path === null || !part.fileName ? (part.fileName ?? null) : surerName(part.fileName, nameOnPhone(path)),
    claimedType: part.mediaType ?? null,
    claimedKind: fields.file_type === 'photo' || fields.file_type === 'video' ? fields.file_type : null,
    created: readCreated(fields.created),
    address,
  }
}

function readFields(form: Form): Type.Static<typeof UploadFields> {
  const fields: Record<string, string> = {}
  for (const [name, value] of form.fields) {
    if (value !== '') fields[name] = value.toWellFormed()
  }
  if (known.fits(fields)) return fields
  const { instancePath, message } = known.finding()
  const name = instancePath.slice(1)
  throw new AppError(
    'invalid_request',
    `The field ${name} holds ${JSON.stringify(fields[name]?.slice(0, 100))}; it ${message}.`,
  )
}

function readCreated(text: string | undefined): number | null {
  const created = readTime(text)
  if (created !== undefined) return created
  throw new AppError(
    'invalid_request',
    `The field created holds ${JSON.stringify(text?.slice(0, 100))}; expected milliseconds since 1970 or a date such as 2024-07-01T12:00:00Z.`,
  )
}
