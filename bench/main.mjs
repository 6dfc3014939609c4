import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { measureKilled } from './killed.mjs'
import { measureLists } from './lists.mjs'
import { measureLoop } from './loop.mjs'
import { measureMemory } from './memory.mjs'
import { before, describeProcessor, MODES } from './processor.mjs'
import { markdown } from './report.mjs'
import { nginx, rclone } from './servers.mjs'
import { measureStart } from './start.mjs'
import { measurePhotos, measureSmallFiles, measureVideo } from './transfers.mjs'

/*
 * npm run bench [-- --quick] [--rounds 3] [--only photos,video] [--modes as-is,hidden] [--peers nginx,rclone] [--before <clone>] [--dir <folder>] [--originals 1000000]
 *
 * Prints the table that the README quotes to stdout, and what it is doing to stderr. Needs Linux; nginx and rclone from
 * Debian are measured beside us if they are installed. Uploads, memory and the event loop are measured as the machine is and, if it has
 * instructions for SHA-256, with those hidden. All of it takes half an hour; photos, video and small files beside nginx alone, in two
 * rounds, some six minutes. With `--before` uploads, memory and the loop of another version, in a clone that has been built, are measured in
 * the same run.
 */

/** What each measurement gets; it returns lines of the table. In the order of the table. */
const MEASUREMENTS = {
  photos: measurePhotos,
  video: measureVideo,
  small: measureSmallFiles,
  memory: measureMemory,
  lists: measureLists,
  start: measureStart,
  killed: measureKilled,
  loop: measureLoop,
}

/**
 * @typedef {object} Bench
 * @property {string} folder An empty folder on the drive that is written to.
 * @property {number} rounds How often each server is measured.
 * @property {readonly import('./processor.mjs').Mode[]} modes The ways in which ours is measured, at least one.
 * @property {readonly import('./servers.mjs').Contender[]} peers The others, as far as they are installed.
 * @property {number | undefined} originals How many a large library has.
 * @property {boolean} quick Only sees whether everything runs: the figures mean little.
 * @property {(text: string) => void} say Tells the person who waits.
 */

async function main() {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      only: { type: 'string' },
      modes: { type: 'string' },
      peers: { type: 'string' },
      before: { type: 'string' },
      dir: { type: 'string' },
      originals: { type: 'string' },
    },
  })
  const measurements = choose(MEASUREMENTS, values.only, 'measurement')
  const now = choose(MODES, values.modes, 'mode')
  const modes = [...now, ...(values.before ? now.map((mode) => before(mode, resolve(values.before))) : [])]
  const peers = choose({ nginx, rclone }, values.peers, 'peer').filter(({ name, missing }) => {
    if (missing !== undefined) console.error(`${name} is left out: ${missing}`)
    return missing === undefined
  })
  const rounds = Number(values.rounds ?? (values.quick ? 1 : 3))
  if (!Number.isInteger(rounds) || rounds < 1) refuse(`--rounds is ${values.rounds}; expected a number from 1 on.`)

  // Beside the repository, not in /tmp, which may be memory.
  const root = fileURLToPath(new URL('..', import.meta.url))
  const folder = await mkdtemp(join(resolve(values.dir ?? dirname(resolve(root))), 'iclood-bench-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }))
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1))

  const originals = values.originals && Number(values.originals)
  const bench = { folder, rounds, modes, peers, quick: values.quick, originals, say: (text) => console.error(text) }
  const began = new Date()
  const rows = []
  for (const measure of measurements) {
    bench.say(`${measure.name}…`)
    rows.push(...(await measure(bench)))
  }
  console.log(markdown(rows))
  console.log(
    `\n${describeProcessor()}, ${Math.round(totalmem() / 2 ** 30)} GB, Node ${process.versions.node}; one run of ${began.toISOString().slice(0, 10)}, ` +
      `${values.quick ? 'a quick one, which says little' : rounds === 1 ? 'each server once' : `medians of ${rounds} rounds in which the servers take turns`}. ` +
      'CPU includes the database; MB = 1000² bytes.',
  )
}

/** The values of `all` whose names `list` has, separated by commas; all of them without a list. */
function choose(all, list, what) {
  const names = list?.split(',') ?? Object.keys(all)
  const unknown = names.filter((name) => !Object.hasOwn(all, name))
  if (unknown.length > 0) refuse(`There is no ${what} ${unknown.join(', ')}; there are ${Object.keys(all).join(', ')}.`)
  return names.map((name) => all[name])
}

function refuse(message) {
  console.error(message)
  process.exit(64)
}

await main()
