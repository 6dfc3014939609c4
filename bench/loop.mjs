import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { ask } from './ask.mjs'
import { listOf } from './household.mjs'
import { eachAtMost } from './report.mjs'
import { send } from './send.mjs'
import { startIclood } from './servers.mjs'

const REACH_MS = 50

/**
 * How long the server's event loop was held up at worst, under each kind of load.
 * @param {import('./main.mjs').Bench} bench
 */
export async function measureLoop(bench) {
  const figures = []
  for (const mode of bench.modes) figures.push(await measureMode(bench, mode))
  const bounds = Object.fromEntries([...figures[0].keys()].map((what) => [what, REACH_MS]))
  return eachAtMost(bench.modes, figures, bounds, 'ms', 1)
}

async function measureMode({ folder, quick, say }, mode) {
  say(mode.name)
  const scale = quick ? 5 : 1
  const server = await startIclood(join(folder, 'loop'), { ...mode, watchLoop: true })
  try {
    const loads = {
      'photos on 4 connections': () =>
        send(server, { kind: 'photo', size: 2_500_000, count: 400 / scale, connections: 4 }),
      '50 kB files on 8 connections': () =>
        send(server, { kind: 'photo', size: 50_000, count: 5_000 / scale, connections: 8, first: 10_000 }),
      'a list of 10,000 new files': () => ask(server, '/photos/new', listOf(0, 10_000)),
    }
    const figures = new Map()
    await delaysOf(server)
    for (const [name, load] of Object.entries(loads)) {
      await load()
      const { worst, p99 } = await delaysOf(server)
      say(`  ${name}: worst ${worst}, p99 ${p99}`)
      figures.set(`event loop held up at worst: ${name}`, worst)
    }
    return figures
  } finally {
    await server.stop()
  }
}

/** What the loop was held up by since it was last asked for, in ms. */
async function delaysOf({ pid, loopDelayFile }) {
  process.kill(pid, 'SIGUSR2')
  for (;;) {
    await setTimeout(20)
    try {
      const delays = JSON.parse(await readFile(loopDelayFile, 'utf8'))
      await rm(loopDelayFile)
      return delays
    } catch (error) {
      if (error.code !== 'ENOENT' && !(error instanceof SyntaxError)) throw error
    }
  }
}
