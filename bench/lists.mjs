import { join } from 'node:path'
import { ask } from './ask.mjs'
import { connectTo, fill, listOf } from './household.mjs'
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
    const database = await connectTo(server.dataDir)
    say(`  filling in ${rows} rows`)
    await fill(database, 0, rows)
    const known = await timesOf(async (n) => {
      const { ms, answer } = await ask(server, '/photos/new', listOf(n * LIST, (n + 1) * LIST))
      expectCount(answer.backed_up_count)
      return ms
    })
    const unknown = await timesOf(async (n) => {
      const { ms, answer } = await ask(server, '/photos/new', listOf(1e7 + n * LIST, 1e7 + (n + 1) * LIST))
      expectCount(answer.count)
      return ms
    })
    say(`  known: ${known}; new: ${unknown}`)

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
      atMost(`\`/photos/new\`, ${where}, all known`, median(known), 250, 'ms'),
      atMost(`\`/photos/new\`, ${where}, all new`, median(unknown), 250, 'ms'),
      ...pages,
    ]
  } finally {
    await server.stop()
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
