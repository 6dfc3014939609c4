import type { LostAndUnread } from '../archive/library.ts'
import { ifReadable } from '../base/if-readable.ts'
import { putBack } from './put-back.ts'
import { clearPlace, readBack } from './verify-original.ts'

const BY_A_PHONE = 'new bytes from a phone'

/** What uploads may ask of verification. */
export const lostAndUnread: LostAndUnread = {
  hasContent: async (library, path, checksum) => {
    const read = await ifReadable(readBack(library, path))
    return read?.state === 'intact' && read.checksum === checksum
  },
  takePlace: async (library, staged, path, sentFrom) => {
    const outcome = await readBack(library, path)
    if (outcome === undefined) return 'changed'
    if (outcome.state === 'intact') return outcome.checksum === staged.checksum ? 'found' : 'changed'
    const isFree = outcome.isCleared || (await ifReadable(clearPlace(library, path, outcome.isStillSo))) === true
    if (!isFree) return 'taken'
    return (await putBack(library, staged, path, BY_A_PHONE, sentFrom)) ? 'restored' : 'changed'
  },
}
