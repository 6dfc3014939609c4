import type { Library } from '../archive/library.ts'
import { type FailedUpload, markFailed } from '../catalogue/announce.ts'
import { AppError, hasCode } from '../errors.ts'
import type { Checksum } from '../media/checksum.ts'
import { isMediumError } from '../storage/drive-error.ts'
import { StagedFile } from '../storage/staging.ts'
import type { Upload } from './inspect-upload.ts'
import { type Stored, store } from './store.ts'

/** What the phone says about its upload, when all of it has arrived. */
export interface Description extends Omit<Upload, 'staged'> {
  /** What the bytes should be; null if it was not sent. */
  checksum: Checksum | null
}

/** An upload that was let in. It ends in `discard`, whatever happened before. */
export interface Reception {
  /** Takes the file's next bytes, which must not change afterwards. Throws `file_too_large`. */
  write(bytes: Buffer): void
  /**
   * A promise to wait for before sending more, if the drive is behind. It rejects with `disk_full` or `drive_error`.
   */
  drained(): Promise<void> | undefined
  /** Stores what was taken. Throws `checksum_mismatch`, and what `store` throws. */
  store(description: Description): Promise<Stored>
  /** Records why the upload failed in the row that was announced for it, as far as `upload` tells which that is. */
  recordFailure(upload: FailedUpload, error: unknown): Promise<void>
  /** Leaves nothing in staging. */
  discard(): Promise<void>
}

/** What the rest of a form may take beside the file, in a length that covers both. */
const FORM_BYTES = 64 * 1024

/**
 * Lets an upload in, before its body is read: the drive is there, and there is room. `length` is that of the whole body
 * in bytes, `undefined` if the client does not say; `holder` is whom space is promised to. Throws `drive_missing`,
 * `drive_error`, `disk_full`, `file_too_large`.
 */
export async function receive(
  library: Library,
  length: number | undefined,
  maxFileSize: number | undefined,
  holder: string,
): Promise<Reception> {
  await library.drive.checkLately()
  if (maxFileSize !== undefined && length !== undefined && length > maxFileSize + FORM_BYTES)
    throw tooLarge(maxFileSize)
  const file = new StagedFile(library.drive, await library.space.reserve(length ?? 0, holder), library.hasher)
  return {
    write: (bytes) => {
      if (maxFileSize !== undefined && file.size + bytes.byteLength > maxFileSize) throw tooLarge(maxFileSize)
      file.write(bytes)
    },
    drained: () => (file.isFull ? file.drained() : undefined),
    store: ({ checksum, ...upload }) => storeWhole(library, file, checksum, upload),
    recordFailure: (upload, error) => recordFailure(library, upload, error),
    discard: () => file.discard(),
  }
}

async function storeWhole(
  library: Library,
  file: StagedFile,
  checksum: Checksum | null,
  upload: Omit<Upload, 'staged'>,
): Promise<Stored> {
  if (file.size === 0) {
    throw new AppError('invalid_request', 'The file is empty: the phone could not read it. Send it again.')
  }
  const staged = await file.finish()
  if (checksum !== null && checksum !== staged.checksum) {
    throw new AppError(
      'checksum_mismatch',
      `The file was damaged on its way: what arrived has SHA-256 ${staged.checksum}, expected ${checksum}. Send it again.`,
    )
  }
  return store(library, { ...upload, staged })
}

async function recordFailure(library: Library, upload: FailedUpload, error: unknown): Promise<void> {
  if (error instanceof AppError && isMediumError(error.cause)) library.readSoon(library.now())
  if (upload.path === null && upload.fileName === null) return
  const reason = error instanceof AppError ? error.message : 'The server failed unexpectedly; its log says why.'
  try {
    await markFailed(library.db, upload, reason, library.now())
  } catch (cause) {
    // Without the database there is no row to mark; the file is asked for again either way.
    if (!hasCode(cause, 'database_unavailable')) throw cause
  }
}

function tooLarge(maxFileSize: number): AppError {
  return new AppError(
    'file_too_large',
    `The file is larger than MAX_FILE_SIZE allows on this server: at most ${maxFileSize} bytes. Raise that setting to take it.`,
  )
}
