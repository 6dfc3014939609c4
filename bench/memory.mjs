import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { memoryOf, watchMemory } from './process-cost.mjs'
import { eachAtMost } from './report.mjs'
import { send } from './send.mjs'
import { startIclood } from './servers.mjs'

const IDLE_AFTER_MS = 10_000
const MB = 1e6

/**
 * The memory of the server and its database: at rest, while four videos arrive at once, and the same after many uploads.
 * @param {import('./main.mjs').Bench} bench
 */
export async function measureMemory(bench) {
  const figures = []
  for (const mode of bench.modes) figures.push(await measureMode(bench, mode))
  const [idle, fresh, used] = figures[0].keys()
  return eachAtMost(bench.modes, figures, { [idle]: 120, [fresh]: 180, [used]: 180 }, 'MB')
}

async function measureMode({ folder, quick, say }, mode) {
  say(mode.name)
  const videoBytes = quick ? 250 * MB : 1000 * MB
  const uploads = quick ? 2_000 : 50_000
  const server = await startIclood(join(folder, 'memory'), mode)
  try {
    await setTimeout(IDLE_AFTER_MS)
    const idle = memoryOf(server.pid)
    say(`  idle: ${idle / MB} MB`)
    const fresh = await whileVideosArrive(server, videoBytes, 1)
    say(`  four videos: ${fresh / MB} MB`)
    await send(server, { kind: 'photo', size: 4_000, count: uploads, connections: 16, first: 1000 })
    say(`  ${uploads} uploads: ${memoryOf(server.pid) / MB} MB`)
    const used = await whileVideosArrive(server, videoBytes, 5)
    const videos = `four ${videoBytes / 1e9} GB videos`
    return new Map([
      ['memory (PSS of server and database), idle', idle / MB],
      [`memory while ${videos} arrive at once`, fresh / MB],
      [`the same after ${uploads.toLocaleString('en')} uploads`, used / MB],
    ])
  } finally {
    await server.stop()
  }
}

async function whileVideosArrive(server, size, first) {
  const { mostSoFar, stop } = watchMemory(server.pid)
  try {
    await send(server, { kind: 'video', size, count: 4, connections: 4, first })
    return mostSoFar()
  } finally {
    stop()
  }
}
