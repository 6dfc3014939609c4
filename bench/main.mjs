import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { cpus, totalmem } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { measureLists } from './lists.mjs'
import { measureLoop } from './loop.mjs'
import { measureMemory } from './memory.mjs'
import { markdown } from './report.mjs'
import { measureSlowHash } from './slow-hash.mjs'
import { measureStart } from './start.mjs'
import { measurePhotos, measureSmallFiles, measureVideo } from './transfers.mjs'

/*
 * npm run bench [-- --quick] [--only photos,video] [--dir <folder>]
 *
 * Prints the table that the README quotes to stdout, and what it is doing to stderr. Needs Linux; nginx and rclone from
 * Debian are measured beside us if they are installed.
 */

/** What each measurement gets; it returns lines of the table. In the order of the table. */
const MEASUREMENTS = {
  photos: measurePhotos,
  video: measureVideo,
  small: measureSmallFiles,
  'slow-hash': measureSlowHash,
  memory: measureMemory,
  lists: measureLists,
  start: measureStart,
  loop: measureLoop,
}

/**
 * @typedef {object} Bench
 * @property {string} folder An empty folder on the drive that is written to.
 * @property {number} rounds How often each server is measured.
 * @property {boolean} quick Only sees whether everything runs: the figures mean little.
 * @property {(text: string) => void} say Tells the person who waits.
 */

async function main() {
  const { values } = parseArgs({
    options: { quick: { type: 'boolean', default: false }, only: { type: 'string' }, dir: { type: 'string' } },
  })
  const chosen = values.only?.split(',') ?? Object.keys(MEASUREMENTS)
  const unknown = chosen.filter((name) => !(name in MEASUREMENTS))
  if (unknown.length > 0) {
    console.error(`There is no ${unknown.join(', ')} to measure; there are ${Object.keys(MEASUREMENTS).join(', ')}.`)
    process.exit(64)
  }

  // Beside the repository, not in /tmp, which may be memory.
  const root = fileURLToPath(new URL('..', import.meta.url))
  const folder = await mkdtemp(join(resolve(values.dir ?? dirname(resolve(root))), 'iclood-bench-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }))
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1))

  const bench = { folder, rounds: values.quick ? 1 : 3, quick: values.quick, say: (text) => console.error(text) }
  const rows = []
  for (const name of chosen) {
    bench.say(`${name}…`)
    rows.push(...(await MEASUREMENTS[name](bench)))
  }
  const [cpu] = cpus()
  console.log(markdown(rows))
  console.log(
    `\n${cpu?.model ?? 'Unknown processor'} (${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GB), Node ${process.versions.node}, ` +
      `${values.quick ? 'one quick run, which says little' : 'median of 3 interleaved runs'}. CPU includes the database; MB = 1000² bytes.`,
  )
}

await main()
