import { once } from 'node:events'
import { createServer } from 'node:net'
import { hasErrno } from '../../src/errors.ts'

/** Below the ports from which the systems take one by themselves, for a connection that goes out: 32768 on Linux. */
const [FIRST, LAST] = [10_000, 32_000]
/** More than there are workers. */
const BLOCKS = 8
const BLOCK = Math.floor((LAST - FIRST) / BLOCKS)

// Each worker has a block of its own: whoever asks the system for any free port is given one that another worker has
// just been given and not yet listened on, and then talks to the other's server.
const start = FIRST + (Number(process.env['VITEST_POOL_ID'] ?? 0) % BLOCKS) * BLOCK
let next = Math.floor(Math.random() * BLOCK)

/** A port that nobody listens on, and that no other test of the run is given. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < BLOCK; tries++) {
    const port = start + next
    next = (next + 1) % BLOCK
    if (await isFree(port)) return port
  }
  throw new Error('no port')
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port)
  try {
    await once(server, 'listening')
  } catch (error) {
    if (hasErrno(error, 'EADDRINUSE', 'EACCES')) return false
    throw error
  }
  server.close()
  await once(server, 'close')
  return true
}
