import type { Library } from '../archive/library.ts'
import { ifReadable } from '../base/if-readable.ts'
import type { LibraryPath } from '../format/layout.ts'
import type { Staged } from '../storage/staging.ts'
import { clearPlace, readBack } from '../verify/verify-original.ts'
import { putBack } from './place.ts'

const BY_A_PHONE = 'new bytes from a phone'

/**
 * Gives the bytes of an upload from `sentFrom` the place of an original with the same content that is lost, or seems to
 * be: `restored`. What lies there is read first: it may be intact after all (`found`); if it is not, it goes to
 * quarantine. Returns `taken` if the drive does not let go of the place, `changed` if somebody else has changed what is
 * there meanwhile.
 */
export async function takeLostPlace(
  library: Library,
  staged: Staged,
  path: LibraryPath,
  sentFrom: string,
): Promise<'found' | 'restored' | 'taken' | 'changed'> {
  const outcome = await readBack(library, path)
  if (outcome === undefined) return 'changed'
  if (outcome.state === 'intact') return outcome.checksum === staged.checksum ? 'found' : 'changed'
  const isFree = outcome.isCleared || (await ifReadable(clearPlace(library, path, outcome.isStillSo))) === true
  if (!isFree) return 'taken'
  return (await putBack(library, staged, path, BY_A_PHONE, sentFrom)) ? 'restored' : 'changed'
}
