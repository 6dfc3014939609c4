import { join } from 'node:path'
import { costOf, writtenTo } from './process-cost.mjs'
import { median } from './report.mjs'
import { expectFiles, send } from './send.mjs'

const GB = 1e9

/**
 * Sent before anything is measured, to every server: ours runs for weeks, and what V8 compiles in the first seconds of them is another
 * matter. Numbered so that they are none of the files that follow.
 */
const WARM_UP = { kind: 'photo', size: 50_000, count: 400, connections: 4, first: 900_000 }

/**
 * What one way of sending files costs each server, as the median of `rounds`, in which they take turns: whatever else the machine
 * does meets all of them.
 *
 * @param {import('./main.mjs').Bench} bench
 * @param {import('./servers.mjs').Contender[]} contenders
 * @param {{ kind: import('./payload.mjs').Kind, size: number, count: number, connections: number }} files
 * @returns {Promise<Map<string, Figures>>} by the contender's name
 */
export async function measureUploads({ folder, rounds, say }, contenders, files) {
  const runs = new Map(contenders.map(({ name }) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const { name, start } of contenders) {
      const figures = await measureOnce(await start(join(folder, name)), files)
      runs.get(name).push(figures)
      say(`  ${name}: ${Object.values(figures).map(short).join(', ')}`)
    }
  }
  const nginx = runs.get('nginx')
  const results = new Map()
  for (const [name, list] of runs) {
    const of = (figure) => median(list.map(figure))
    results.set(name, {
      megabytes: of((run) => run.megabytes),
      files: of((run) => run.files),
      cpu: of((run) => run.cpu),
      written: list[0].written === undefined ? undefined : of((run) => run.written),
      charged: of((run) => run.charged),
      ratio: nginx && median(list.map((run, round) => run.files / nginx[round].files)),
    })
  }
  return results
}

/**
 * @typedef {object} Figures
 * @property {number} megabytes MB per second.
 * @property {number} files Files per second.
 * @property {number} cpu CPU seconds per GB.
 * @property {number | undefined} written Bytes that reached the drive per byte received, by whomever; undefined if that can't be told.
 * @property {number} charged Bytes that the system charges the server's processes for, per byte received; see `costOf`.
 * @property {number | undefined} ratio Rate divided by that of nginx in the same round, if nginx was measured.
 */

async function measureOnce(server, files) {
  try {
    await send(server, WARM_UP)
    const writtenBefore = writtenTo(server.folder)
    const before = costOf(server.pid)
    const seconds = await send(server, files)
    const after = costOf(server.pid)
    const written = writtenTo(server.folder)
    await expectFiles(server, WARM_UP.count + files.count)
    const bytes = files.size * files.count
    return {
      megabytes: bytes / 1e6 / seconds,
      files: files.count / seconds,
      cpu: (after.cpu - before.cpu) / (bytes / GB),
      written: written === undefined ? undefined : (written - writtenBefore) / bytes,
      charged: (after.charged - before.charged) / bytes,
    }
  } finally {
    await server.stop()
  }
}

function short(value) {
  return value === undefined ? '–' : String(Number(value.toPrecision(3)))
}
