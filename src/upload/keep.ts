import type { Library } from '../archive/library.ts'
import type { LibraryPath } from '../format/layout.ts'
import type { Staged } from '../storage/staging.ts'
import type { Decision } from './decide.ts'
import { commitOriginal } from './place.ts'
import type { Wish } from './wish.ts'

/** Where the bytes of an upload are now, durably. */
export interface Kept {
  path: LibraryPath
  /** Whether they were there, were put back where they had been lost, or got a new place. */
  origin: 'found' | 'restored' | 'committed'
  /** The path of a lost copy whose place could not be had. */
  replaces: LibraryPath | null
  /** When known from before. */
  capturedAt?: Date | null
  capturedOffset?: number | null
}

/**
 * Does what was decided; `wish` says where a new original should lie. Returns `again` where something is not as it was
 * when that was decided: then it is known better now.
 */
export async function keep(
  library: Library,
  { staged, address }: { staged: Staged; address: string },
  decision: Decision,
  wish: () => Wish,
): Promise<Kept | 'again'> {
  if (decision.outcome === 'found') {
    const { path, capturedAt, capturedOffset } = decision
    return { path, origin: 'found', replaces: null, capturedAt, capturedOffset }
  }
  const { hasContent, takePlace } = library.lostAndUnread
  for (const path of decision.unread) {
    // The catalogue has it by its content then.
    if (await hasContent(library, path, staged.checksum)) return 'again'
  }
  for (const path of decision.lost) {
    const place = await takePlace(library, staged, path, address)
    if (place === 'changed') return 'again'
    if (place !== 'taken') return { path, origin: place, replaces: null }
  }
  const path = await commitOriginal(library, staged, wish())
  return path === 'again' ? 'again' : { path, origin: 'committed', replaces: decision.replaces }
}
