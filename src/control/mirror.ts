import Type, { type Static } from 'typebox'
import { AppError } from '../errors.ts'
import { replaceWithMirror } from '../mirror/open.ts'
import type { MirrorState } from '../mirror/status.ts'
import type { Owner } from './owner.ts'

export const MirrorAsked = Type.Object({
  /** From now on it is kept on the drive that is in MIRROR_FOLDER now. */
  replace: Type.Boolean(),
})

export interface MirrorFacts {
  state: MirrorState
  reason: string | null
  folder: string | null
  files_behind: number
  bytes_behind: number
  /** ISO 8601. */
  oldest_behind: string | null
  same_device: boolean
}

/** How the second copy is. Throws what `library` and `replaceWithMirror` do. */
export async function mirror(owner: Owner, { replace }: Static<typeof MirrorAsked>): Promise<MirrorFacts> {
  const { mirrorFolder } = owner.config
  const library = await owner.library()
  if (replace) {
    if (mirrorFolder === undefined) {
      throw new AppError(
        'mirror_missing',
        'MIRROR_FOLDER is not set. Set it to the folder that is to hold the second copy.',
      )
    }
    await replaceWithMirror(library, mirrorFolder)
    owner.trouble()
  }
  const { state, reason, backlog, isOnOneDevice } = await owner.mirrorStatus(library, replace)
  return {
    state,
    reason,
    folder: mirrorFolder ?? null,
    files_behind: backlog.files,
    bytes_behind: backlog.bytes,
    oldest_behind: backlog.oldest?.toISOString() ?? null,
    same_device: isOnOneDevice,
  }
}
