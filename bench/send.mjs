import { fork } from 'node:child_process'
import { once } from 'node:events'
import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Payload } from './payload.mjs'

const LOAD = fileURLToPath(new URL('load.mjs', import.meta.url))

/**
 * Sends files to `server` from a process of its own and makes sure that they arrived: a sample is compared byte for byte with
 * what lies on the drive. Returns the seconds it took.
 *
 * @param {import('./servers.mjs').Server} server
 * @param {{ kind: import('./payload.mjs').Kind, size: number, count: number, connections: number, first?: number }} files
 */
export async function send(server, files) {
  const job = { first: 0, ...files, port: server.port, style: server.style }
  const child = fork(LOAD, { env: { PATH: process.env.PATH }, execArgv: [] })
  child.send(job)
  const [outcome] = await Promise.race([once(child, 'message'), once(child, 'exit').then(() => [])])
  if (outcome === undefined) throw new Error(`${server.name} did not take the files:\n${server.output()}`)
  const payload = new Payload(files)
  for (const { index, path } of outcome.sample) await compare(payload, index, join(server.folder, path))
  return outcome.seconds
}

/** Throws unless `count` files lie below the server's folder. */
export async function expectFiles(server, count) {
  const entries = await readdir(server.folder, { recursive: true, withFileTypes: true })
  const found = entries.filter((entry) => entry.isFile() && /^IMG_.*\.(JPG|MOV)$/.test(entry.name)).length
  if (found !== count) throw new Error(`${server.name} has ${found} files; expected ${count}`)
}

async function compare(payload, index, path) {
  const file = await open(path)
  try {
    const { size } = await file.stat()
    if (size !== payload.size) throw new Error(`${path} has ${size} bytes; expected ${payload.size}`)
    for (let position = 0; position < payload.blockCount; position++) {
      const expected = payload.block(index, position)
      const { buffer } = await file.read(Buffer.alloc(expected.length), 0, expected.length)
      if (!buffer.equals(expected)) throw new Error(`${path} differs from what was sent`)
    }
  } finally {
    await file.close()
  }
}
