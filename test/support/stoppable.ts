import { existsSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Call } from './faults.ts'
import { startServer, type TestServer } from './server.ts'
import { until } from './until.ts'

/** The moment at which a process is killed: around a call to the drive. */
export interface Moment {
  when: 'before' | 'after'
  call: readonly Call[]
  /**
   * What the call's paths must fit, separated by a space; that of a descriptor, too, and how a file is opened (`path
   * wx`).
   */
  path: RegExp
  /** Not that call itself, but the next one of any kind. */
  isNext?: true
}

/** A server that can be made to end at a moment of the test's choice, as by kill -9. */
export interface StoppableServer extends TestServer {
  stopAt(moment: Moment): Promise<void>
}

/**
 * Loaded by Node before the program, it wraps the functions of the one place through which that touches the drive. The
 * moment is read at the start, and whenever a signal says so.
 */
const PRELOAD = `
import { constants, existsSync, readFileSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { io } from ${JSON.stringify(new URL('../../dist/storage/io.js', import.meta.url).href)}

const file = decodeURIComponent(/[?]moment=(.*)$/.exec(import.meta.url)[1])
let moment
let isNext = false
const read = () => {
  moment = JSON.parse(readFileSync(file, 'utf8'))
  unlinkSync(file)
}
if (existsSync(file)) read()
process.on('SIGUSR2', read)
const end = () => process.kill(process.pid, 'SIGKILL')
const open = new Map()
const pathOf = (arg) => {
  if (typeof arg === 'string') return arg
  if (typeof arg === 'number') return (arg & constants.O_EXCL) === 0 ? undefined : 'wx'
  return arg?.root === undefined ? undefined : join(arg.root.folder, arg.path)
}
for (const [name, really] of Object.entries(io)) {
  io[name] = (...args) => {
    if (isNext) end()
    const paths = args.slice(0, 2).map((arg, index) => (typeof arg === 'number' && index === 0 ? open.get(arg) : arg))
    const text = paths.map(pathOf).filter((path) => path !== undefined).join(' ')
    const isMoment = moment !== undefined && moment.call.includes(name) && new RegExp(moment.path).test(text)
    if (isMoment && moment.when === 'before') end()
    const done = (result) => {
      if (name.startsWith('open') && result !== undefined) open.set(result.file ?? result, pathOf(args[0]))
      if (isMoment && moment.isNext !== true) end()
      if (isMoment) isNext = true
      return result
    }
    const result = really(...args)
    return result instanceof Promise ? result.then(done) : done(result)
  }
}
`

/** What the environment of a program must hold for it to end at that moment. */
export async function endingAt(folder: string, moment: Moment): Promise<Record<string, string>> {
  await writeMoment(folder, moment)
  return preloading(folder)
}

/** Starts a server as `startServer` does. */
export async function startStoppable(folder: string, env: Record<string, string>): Promise<StoppableServer> {
  const server = await startServer(folder, { ...env, ...(await preloading(folder)) })
  return {
    ...server,
    stopAt: async (moment) => {
      await writeMoment(folder, moment)
      process.kill(server.pid, 'SIGUSR2')
      await until('the server has read the moment', async () => !existsSync(momentIn(folder)))
    },
  }
}

const momentIn = (folder: string) => join(folder, 'moment.json')

async function writeMoment(folder: string, moment: Moment): Promise<void> {
  const file = momentIn(folder)
  await writeFile(`${file}.new`, JSON.stringify({ ...moment, path: moment.path.source }))
  await rename(`${file}.new`, file)
}

async function preloading(folder: string): Promise<Record<string, string>> {
  const preload = join(folder, 'preload.mjs')
  await writeFile(preload, PRELOAD)
  return { NODE_OPTIONS: `--import=file://${preload}?moment=${encodeURIComponent(momentIn(folder))}` }
}
