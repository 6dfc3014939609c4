import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { atMost, median } from './report.mjs'
import { answers, freePort } from './servers.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const TRIES = 5

/**
 * From `npm start` to the first answer, when everything has been installed, compiled and made before.
 * @param {import('./main.mjs').Bench} bench
 */
export async function measureStart({ folder, say }) {
  const base = join(folder, 'start')
  await mkdir(base)
  await timeStart(base)
  const times = []
  for (let n = 0; n < TRIES; n++) times.push(await timeStart(base))
  say(`  ${times}`)
  return [atMost('first answered `/ping` after `npm start`', median(times), 1.5, 's', 2)]
}

async function timeStart(base) {
  const port = await freePort()
  const began = performance.now()
  const child = spawn('npm', ['start'], {
    cwd: root,
    env: { ...process.env, PORT: String(port), DATA_DIR: base, UPLOAD_FOLDER: join(base, 'photos'), LOG_LEVEL: 'warn' },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  let hasEnded = false
  const ended = once(child, 'exit').then(() => {
    hasEnded = true
  })
  while (!(await answers(port, '/ping'))) {
    if (hasEnded) throw new Error('`npm start` ended')
    await setTimeout(5)
  }
  const seconds = (performance.now() - began) / 1000
  child.kill('SIGTERM')
  await ended
  // npm may be gone before what it runs.
  while (await answers(port, '/ping')) await setTimeout(20)
  return seconds
}
