import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { ask } from './ask.mjs'
import { connectTo, fill, fillOld, listOf, OLD_DEVICE } from './household.mjs'
import { atMost, median } from './report.mjs'
import { startIclood } from './servers.mjs'

const LIST = 10_000
const TRIES = 5

/**
 * How long a phone's list takes, and the pages of numbers, in a household of many years.
 * @param {import('./main.mjs').Bench} bench
 */
export async function measureLists({ folder, quick, say }) {
  const rows = quick ? 50_000 : 200_000
  const manyRows = quick ? 100_000 : 1_000_000
  const server = await startIclood(join(folder, 'lists'))
  try {
    await untilReady(server)
    const database = await connectTo(server.dataDir)
    say(`  filling in ${rows} rows`)
    await fill(database, 0, rows)
    const known = await timesOfLists(server, 0, (answer) => answer.backed_up_count)
    const unknown = await timesOfLists(server, 1e7, (answer) => answer.count)
    await fillOld(database, 0, rows)
    const old = await timesOfLists(server, 0, (answer) => answer.backed_up_count, OLD_DEVICE)
    say(`  known: ${describe(known)}; new: ${describe(unknown)}; of an older server: ${describe(old)}`)

    say(`  filling in ${manyRows} rows`)
    await fill(database, rows, manyRows)
    await database.end()
    const pages = []
    for (const path of ['/storage/status', '/backup/log', '/backup/history']) {
      const times = await timesOf(async () => (await ask(server, path)).ms)
      say(`  ${path}: ${times}`)
      pages.push(atMost(`\`${path}\` at ${manyRows.toLocaleString('en')} rows`, median(times), 20, 'ms', 1))
    }
    const where = `a list of ${LIST.toLocaleString('en')} against ${rows.toLocaleString('en')} rows`
    return [
      timesJson(`\`/photos/new\`, ${where}, all known`, known, 8),
      timesJson(`\`/photos/new\`, ${where}, all new`, unknown, 14),
      atMost(
        'the same list against rows of an older server, all known, beside rows of our own',
        median(old.map(({ ms }) => ms)) / median(known.map(({ ms }) => ms)),
        2,
        'times',
        1,
      ),
      ...pages,
    ]
  } finally {
    await server.stop()
  }
}

/** It answers `/ping` before its database is there. */
async function untilReady(server) {
  for (;;) {
    const isReady = await ask(server, '/storage/status').then(
      () => true,
      () => false,
    )
    if (isReady) return
    await setTimeout(50)
  }
}

/** Sends lists of assets from number `first` on; `countOf` tells how many of an answer's files are as expected. */
async function timesOfLists(server, first, countOf, device) {
  const tries = []
  for (let n = 0; n < TRIES; n++) {
    const list = listOf(first + n * LIST, first + (n + 1) * LIST, device)
    const json = jsonTime(list)
    const { ms, answer } = await ask(server, '/photos/new', list)
    expectCount(countOf(answer))
    tries.push({ ms, json })
  }
  return tries
}

/** What reading such a list and writing it again takes at the least, in ms: everything else is measured in this. */
function jsonTime(text) {
  const times = Array.from({ length: 5 }, () => {
    const began = performance.now()
    JSON.stringify(JSON.parse(text))
    return performance.now() - began
  })
  return median(times)
}

function describe(tries) {
  return tries.map(({ ms, json }) => `${ms.toFixed(0)} ms (${(ms / json).toFixed(1)}×)`).join(', ')
}

/** @returns {import('./report.mjs').Row} */
function timesJson(what, tries, bound) {
  const ratio = median(tries.map(({ ms, json }) => ms / json))
  return {
    what,
    iclood: `${ratio.toFixed(1)}× JSON (${median(tries.map(({ ms }) => ms)).toFixed(0)} ms)`,
    reach: `≤ ${bound}× parsing and writing the same JSON`,
    isReached: ratio <= bound,
  }
}

async function timesOf(task) {
  const times = []
  for (let n = 0; n < TRIES; n++) times.push(Math.round(10 * (await task(n))) / 10)
  return times
}

function expectCount(count) {
  if (count !== LIST) throw new Error(`the answer counts ${count} files; expected ${LIST}`)
}
