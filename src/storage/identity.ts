import { randomUUID } from 'node:crypto'
import { dirname } from 'node:path'
import { IDENTITY_BYTES } from '../base/budgets.ts'
import { AppError, hasErrno } from '../errors.ts'
import { IDENTITY_FILE, PRIVATE_FOLDER } from '../format/layout.ts'
import { discard } from './discard.ts'
import { Root } from './entry.ts'
import { io } from './io.ts'
import { lookAt } from './look-at.ts'
import { ELSEWHERE } from './touched.ts'
import { writeWhole } from './write-whole.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** What `.iclood/library.json` says. */
export interface LibraryFile {
  id: string
  /** The identity of the library that this one is a mirror of; null if it is none. */
  mirrorOf: string | null
}

/**
 * Reads whose library the folder `root` is. Returns `undefined` if it is none: no folder, or a folder without
 * `.iclood/library.json`. Throws `drive_error` if the file is there and holds no identity; system errors pass.
 */
export async function readLibraryFile(root: string): Promise<LibraryFile | undefined> {
  let text: string
  try {
    text = await io.readText(new Root(root).at(IDENTITY_FILE), IDENTITY_BYTES)
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
  const file = parseLibraryFile(text)
  if (file === undefined) {
    throw new AppError(
      'drive_error',
      `${IDENTITY_FILE} on the drive does not hold a library's identity. It should look like {"format": 1, ` +
        `"id": "<uuid>"}; restore it, or move it away to have the drive treated as a new one.`,
    )
  }
  return file
}

/** The identity alone, as `readLibraryFile` returns and throws. */
export async function readIdentity(root: string): Promise<string | undefined> {
  return (await readLibraryFile(root))?.id
}

function parseLibraryFile(text: string): LibraryFile | undefined {
  try {
    const document: unknown = JSON.parse(text)
    if (typeof document !== 'object' || document === null || !('id' in document)) return undefined
    const id = parseUuid(document.id)
    const mirrorOf = 'mirror_of' in document ? parseUuid(document.mirror_of) : undefined
    return id === undefined ? undefined : { id, mirrorOf: mirrorOf ?? null }
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Reads an identity; `undefined` if `value` is none. */
export function parseUuid(value: unknown): string | undefined {
  return typeof value === 'string' && UUID.test(value) ? value.toLowerCase() : undefined
}

/**
 * Makes the folder `root` a library, with `mirrorOf` a mirror of that one, and returns its new identity, durable. If
 * another process does so at the same moment, one identity wins and both get it. Creates `root` where it is missing.
 */
export async function createIdentity(root: string, now: Date, mirrorOf?: string): Promise<string> {
  const above = await io.mkdirs(root)
  const files = new Root(root)
  await io.mkdir(files.at(PRIVATE_FOLDER))
  const target = files.at(IDENTITY_FILE)
  const draft = files.at(`${IDENTITY_FILE}.${randomUUID()}`)
  const document = { format: 1, id: randomUUID(), created: now.toISOString(), mirror_of: mirrorOf }
  try {
    await writeWhole(draft, Buffer.from(`${JSON.stringify(document)}\n`))
    if ((await lookAt(target)) !== undefined) await io.unlink(draft)
    else await io.rename(draft, target)
    await settleIdentity(root, above)
  } catch (error) {
    await discard(draft)
    throw error
  }
  const id = await readIdentity(root)
  if (id === undefined) throw new AppError('drive_missing', 'The drive went away while its library was being created.')
  return id
}

/**
 * Makes the name of the identity in the folder `root` durable, whoever has made it, and those of the folders from
 * `made` on, which are new. System errors pass.
 */
export async function settleIdentity(root: string, made = root): Promise<void> {
  await ELSEWHERE.syncFolder(new Root(root).at(PRIVATE_FOLDER))
  for (let folder = root; folder.length >= dirname(made).length; folder = dirname(folder)) {
    await ELSEWHERE.syncFolder(new Root(folder).at(''))
    if (folder === dirname(folder)) break
  }
}
