import { createHash } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { HashThread } from './hash-thread.ts'
import { type Hasher, hashHere } from './hasher.ts'

/**
 * MB/s from which on another thread is no gain: handing the bytes over and waking it cost about a third of hashing
 * them.
 */
const FAST = 1_000

/**
 * The hasher for a machine that computes `speed` MB of SHA-256 in a second: with instructions for it x86 and ARM do
 * 1,000 to 2,500, without them 150 to 650, which would hold up the event loop for longer than all else. One processor
 * is not made faster by a second thread.
 */
export function hasherFor(speed: number, processors = availableParallelism()): Hasher {
  return speed >= FAST || processors < 2 ? hashHere : new HashThread()
}

const SAMPLE = Buffer.alloc(256 * 1024)
const TRIES = 5

/**
 * MB of SHA-256 a second on this machine: the best of a few tries, since whatever else it does only makes it slower.
 * Takes 1 to 10 ms.
 */
export function measureSpeed(): number {
  const tries = Array.from({ length: TRIES }, () => {
    const began = performance.now()
    createHash('sha256').update(SAMPLE).digest()
    return performance.now() - began
  })
  return SAMPLE.length / 1000 / Math.min(...tries)
}
