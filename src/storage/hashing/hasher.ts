/*
 * storage/hashing/: SHA-256, in a thread of its own where it would hold up the event loop.
 */

import { createHash } from 'node:crypto'
import type { Checksum } from '../../media/checksum.ts'

/**
 * One SHA-256 in the making. Calls are made one after the other; the next one may begin when the promise of the last is
 * resolved.
 */
export interface Hashing {
  /**
   * Resolves when the bytes of `chunks` may change again. Throws `hashing_failed`: then the whole file has to come
   * again.
   */
  update(chunks: readonly Buffer[]): Promise<void>
  /** Takes the last bytes and returns the checksum of all of them. Throws as `update`. */
  digest(chunks: readonly Buffer[]): Promise<Checksum>
  /** No checksum is wanted any more. Idempotent; also after `digest`, or while one is under way. */
  abandon(): void
}

/** Where SHA-256 is computed. */
export interface Hasher {
  begin(): Hashing
  /** Ends what goes on in the background. */
  close(): Promise<void>
}

/** Computes on the thread that asks. */
export const hashHere: Hasher = {
  begin: () => {
    const hash = createHash('sha256')
    const update = async (chunks: readonly Buffer[]) => {
      for (const chunk of chunks) hash.update(chunk)
    }
    return {
      update,
      digest: async (chunks) => {
        await update(chunks)
        return hash.digest('hex') as Checksum
      },
      abandon: () => {},
    }
  },
  close: async () => {},
}
