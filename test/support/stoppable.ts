import { existsSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import type { Call } from './faults.ts'
import { startServer, type TestServer } from './server.ts'

/** The moment at which a process is killed: around a call to the drive. */
export interface Moment {
  when: 'before' | 'after'
  call: readonly Call[]
  /** What the call's paths, separated by a space, must fit; those of a descriptor, too. */
  path: RegExp
  /** Not that call itself, but the next one of any kind. */
  isNext?: true
}

/** A server that can be made to end at a moment of the test's choice, as by kill -9. */
export interface StoppableServer extends TestServer {
  stopAt(moment: Moment): Promise<void>
}

/**
 * Loaded by Node before the server, it wraps the functions of the one place through which the server touches the drive. A
 * signal tells it that there is a moment to be read.
 */
const PRELOAD = `
import { readFileSync, unlinkSync } from 'node:fs'
import { io } from ${JSON.stringify(new URL('../../dist/storage/io.js', import.meta.url).href)}

const [, file] = /[?]moment=(.*)$/.exec(import.meta.url)
let moment
let isNext = false
process.on('SIGUSR2', () => {
  moment = JSON.parse(readFileSync(decodeURIComponent(file), 'utf8'))
  unlinkSync(decodeURIComponent(file))
})
const end = () => process.kill(process.pid, 'SIGKILL')
const open = new Map()
for (const [name, really] of Object.entries(io)) {
  io[name] = (...args) => {
    if (isNext) end()
    const paths = args.slice(0, 2).map((arg, index) => (typeof arg === 'number' && index === 0 ? open.get(arg) : arg))
    const text = paths.filter((path) => typeof path === 'string').join(' ')
    const isMoment = moment !== undefined && moment.call.includes(name) && new RegExp(moment.path).test(text)
    if (isMoment && moment.when === 'before') end()
    const done = (result) => {
      if (name.startsWith('open')) open.set(result, args[0])
      if (isMoment && moment.isNext !== true) end()
      if (isMoment) isNext = true
      return result
    }
    const result = really(...args)
    return result instanceof Promise ? result.then(done) : done(result)
  }
}
`

/** Starts it as `startServer` does. */
export async function startStoppable(folder: string, env: Record<string, string>): Promise<StoppableServer> {
  const preload = join(folder, 'preload.mjs')
  const file = join(folder, 'moment.json')
  await writeFile(preload, PRELOAD)
  const server = await startServer(folder, {
    ...env,
    NODE_OPTIONS: `--import=file://${preload}?moment=${encodeURIComponent(file)}`,
  })
  return {
    ...server,
    stopAt: async (moment) => {
      await writeFile(`${file}.new`, JSON.stringify({ ...moment, path: moment.path.source }))
      await rename(`${file}.new`, file)
      process.kill(server.pid, 'SIGUSR2')
      while (existsSync(file)) await setTimeout(5)
    },
  }
}
