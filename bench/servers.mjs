import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('../bin/iclood.cjs', import.meta.url))
const LOOP_DELAY = new URL('loop-delay.mjs', import.meta.url).href

/**
 * A running server in a process of its own.
 * @typedef {object} Server
 * @property {string} name
 * @property {number} pid
 * @property {number} port
 * @property {'form' | 'put'} style How files are sent to it.
 * @property {string} folder Where it keeps them.
 * @property {() => string} output All that it has printed.
 * @property {(options?: { keep?: boolean }) => Promise<void>} stop Ends it and removes everything of it, unless that is kept.
 * @property {() => Promise<void>} kill Ends it as by kill -9.
 */

/** @typedef {{ name: string, missing?: string, start: (folder: string) => Promise<Server> }} Contender */

/**
 * iClood with its embedded database, as a household starts it.
 * @param {string} base An absolute path that does not exist yet.
 * @param {{ env?: Record<string, string>, program?: string, watchLoop?: boolean, isMade?: boolean }} options `isMade`: go on with what is there
 */
export async function startIclood(base, { env = {}, program = PROGRAM, watchLoop = false, isMade = false } = {}) {
  const port = await freePort()
  const delays = join(base, 'loop-delay.json')
  if (!isMade) await mkdir(base)
  const server = await launch('iClood', base, [program, 'serve'], port, {
    env: {
      HOME: process.env.HOME,
      PORT: String(port),
      HOST: '127.0.0.1',
      LOG_LEVEL: 'warn',
      ...(watchLoop && { NODE_OPTIONS: `--import=${LOOP_DELAY}`, LOOP_DELAY_FILE: delays }),
      ...env,
    },
  })
  // It answers before its drive and its database are there.
  await untilAnswered(server, '/ping', 200)
  const answeredAt = performance.now()
  await untilAnswered(server, '/storage/status', 200)
  return {
    ...server,
    answeredAt,
    readyAt: performance.now(),
    style: 'form',
    folder: join(base, 'data/photos'),
    dataDir: join(base, 'data'),
    loopDelayFile: delays,
  }
}

/** @param {import('./processor.mjs').Mode} mode @returns {Contender} */
export const icloodAs = (mode) => ({ name: mode.name, start: (base) => startIclood(base, mode) })

/** nginx as Debian has it: WebDAV's PUT, written to a file beside its place and renamed. @type {Contender} */
export const nginx = {
  name: 'nginx',
  missing: missing('nginx', ['-v']),
  async start(base) {
    const port = await freePort()
    const folder = join(base, 'files')
    await mkdir(folder, { recursive: true })
    const config = join(base, 'nginx.conf')
    await writeFile(
      config,
      `${process.getuid() === 0 ? 'user root;' : ''}
      daemon off; worker_processes auto; pid ${base}/nginx.pid; error_log stderr warn;
      events {}
      http {
        access_log off; keepalive_requests 1000000; client_max_body_size 0;
        client_body_temp_path ${base}/incoming; proxy_temp_path ${base}/t1; fastcgi_temp_path ${base}/t2;
        uwsgi_temp_path ${base}/t3; scgi_temp_path ${base}/t4;
        server { listen 127.0.0.1:${port}; root ${folder}; dav_methods PUT; create_full_put_path on; }
      }`,
    )
    const server = await launch('nginx', base, ['nginx', '-p', base, '-c', config], port)
    await untilAnswered(server, '/')
    return { ...server, style: 'put', folder }
  },
}

/** @type {Contender} */
export const rclone = {
  name: 'rclone',
  missing: missing('rclone', ['version']),
  async start(base) {
    const port = await freePort()
    const folder = join(base, 'files')
    await mkdir(folder, { recursive: true })
    const command = ['rclone', 'serve', 'webdav', folder, '--addr', `127.0.0.1:${port}`]
    const server = await launch('rclone', base, command, port, { env: { RCLONE_CONFIG: '/dev/null' } })
    await untilAnswered(server, '/')
    return { ...server, style: 'put', folder }
  },
}

function missing(program, args) {
  const { error } = spawnSync(program, args, { env: { PATH: systemPath() }, stdio: 'ignore' })
  return error === undefined ? undefined : `${program} is not installed (apt-get install ${program})`
}

/** Debian keeps nginx where only root's PATH leads. */
function systemPath() {
  return `${process.env.PATH}:/usr/sbin`
}

async function launch(name, base, [command, ...args], port, { env = {} } = {}) {
  const child = spawn(command, args, {
    cwd: base,
    env: { PATH: systemPath(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text
    })
  }
  const killed = () => child.kill('SIGKILL')
  process.once('exit', killed)
  return {
    name,
    pid: child.pid,
    port,
    output: () => output,
    hasEnded: () => child.exitCode !== null || child.signalCode !== null,
    async kill() {
      child.kill('SIGKILL')
      await once(child, 'exit')
      process.off('exit', killed)
    },
    async stop({ keep = false } = {}) {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGTERM')
        await once(child, 'exit')
      }
      process.off('exit', killed)
      if (keep) return
      await rm(base, { recursive: true, force: true })
      // Nothing of this run is to be written during the next one.
      spawnSync('sync')
    },
  }
}

async function untilAnswered(server, path, status) {
  for (;;) {
    if (server.hasEnded()) throw new Error(`${server.name} ended: ${server.output()}`)
    if (await answers(server.port, path, status)) return
    await setTimeout(20)
  }
}

/** Whether `port` answers a GET of `path`, with `status` or, without one, with whatever it may be. */
export function answers(port, path, status) {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('connect', () => socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`))
    socket.once('data', (head) => {
      socket.destroy()
      resolve(status === undefined || head.toString('latin1').startsWith(`HTTP/1.1 ${status} `))
    })
    socket.once('error', () => resolve(false)).once('close', () => resolve(false))
  })
}

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}
