import { resolve } from 'node:path'
import Type, { type Static } from 'typebox'
import { AppError } from '../errors.ts'
import { replaceWithMirror } from '../mirror/open.ts'
import type { MirrorState, MirrorStatus } from '../mirror/status.ts'
import type { Owner } from './owner.ts'

export const MirrorAsked = Type.Object({
  /** The folder of `MIRROR_FOLDER` whose copy is kept on the drive that is there now; empty: the only one. */
  replace: Type.Optional(Type.String()),
})

export interface MirrorFacts {
  state: MirrorState | 'none'
  reason: string | null
  folder: string | null
  files_behind: number
  bytes_behind: number
  /** ISO 8601. */
  oldest_behind: string | null
  same_device: boolean
}

/** The first one's facts, and of several everyone's. */
export interface MirrorsFacts extends MirrorFacts {
  mirrors?: MirrorFacts[]
}

const NONE: MirrorFacts = {
  state: 'none',
  reason: null,
  folder: null,
  files_behind: 0,
  bytes_behind: 0,
  oldest_behind: null,
  same_device: false,
}

/** How the second copies are. Throws what `library` and `replaceWithMirror` do, `invalid_request`. */
export async function mirror(owner: Owner, { replace }: Static<typeof MirrorAsked>): Promise<MirrorsFacts> {
  const { mirrorFolders } = owner.config
  const library = await owner.library()
  const folder = replace === undefined ? undefined : folderMeant(mirrorFolders, replace)
  if (folder !== undefined) {
    await replaceWithMirror(library, folder, mirrorFolders)
    owner.trouble()
  }
  const mirrors = (await owner.mirrorStatuses(library, folder)).map(factsOf)
  return { ...(mirrors[0] ?? NONE), ...(mirrors.length > 1 && { mirrors }) }
}

function folderMeant(folders: readonly string[], name: string): string {
  const [first, ...others] = folders
  if (first === undefined) {
    throw new AppError(
      'mirror_missing',
      'MIRROR_FOLDER is not set. Set it to the folder that is to hold the second copy.',
    )
  }
  if (name === '' && others.length === 0) return first
  const meant = name === '' ? undefined : folders.find((folder) => folder === resolve(name))
  if (meant !== undefined) return meant
  throw new AppError(
    'invalid_request',
    `MIRROR_FOLDER names ${folders.join(' and ')}. Say which of these: mirror --replace ${first}`,
  )
}

function factsOf({ state, reason, folder, backlog, isOnOneDevice }: MirrorStatus): MirrorFacts {
  return {
    state,
    reason,
    folder,
    files_behind: backlog.files,
    bytes_behind: backlog.bytes,
    oldest_behind: backlog.oldest?.toISOString() ?? null,
    same_device: isOnOneDevice,
  }
}
