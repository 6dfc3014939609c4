import { iclood, nginx, rclone } from './servers.mjs'
import { measureUploads } from './uploads.mjs'

/** @typedef {import('./main.mjs').Bench} Bench */

/** @param {Bench} bench */
export async function measurePhotos(bench) {
  const rows = []
  for (const connections of [1, 4]) {
    const files = { kind: 'photo', size: 2_500_000, count: bench.quick ? 80 : 400, connections }
    const what = `photos of 2.5 MB, ${connections} connection${connections === 1 ? '' : 's'}`
    rows.push(...(await compare(bench, what, files, { ratio: 0.3, cpu: 3.8, written: 1.05 })))
  }
  return rows
}

/** @param {Bench} bench */
export async function measureVideo(bench) {
  const size = bench.quick ? 300_000_000 : 900_000_000
  const files = { kind: 'video', size, count: 1, connections: 1 }
  return compare(bench, `one video of ${size / 1e6} MB`, files, { ratio: 0.4, cpu: 2.8, written: 1.05 })
}

/** @param {Bench} bench */
export async function measureSmallFiles(bench) {
  const count = bench.quick ? 1_000 : 5_000
  const files = { kind: 'photo', size: 50_000, count, connections: 8 }
  return compare(bench, `${count.toLocaleString('en')} files of 50 kB, 8 connections`, files, { files: 600 })
}

/** The lines of one comparison: rate, CPU, what was written. `reach` has what ours should be. */
async function compare(bench, what, files, reach) {
  bench.say(what)
  const peers = [nginx, rclone].filter(({ name, missing }) => {
    if (missing !== undefined) bench.say(`${name} is left out: ${missing}`)
    return missing === undefined
  })
  const results = await measureUploads(bench, [iclood, ...peers], files)
  const ours = results.get(iclood.name)
  const of = (name, show) => (results.has(name) ? show(results.get(name)) : 'not installed')
  const line = (label, show) => ({
    what: label,
    iclood: show(ours),
    nginx: of('nginx', show),
    rclone: of('rclone', show),
  })
  const rate = line(what, (figures) =>
    reach.files === undefined ? `${figures.megabytes.toFixed(0)} MB/s` : `${figures.files.toFixed(0)} files/s`,
  )
  const ratio = results.has('nginx') ? ours.ratio : undefined
  if (ratio !== undefined) rate.iclood += ` (${ratio.toFixed(2)} of nginx)`
  if (reach.files !== undefined) Object.assign(rate, bound('≥', ours.files, reach.files, ' files/s'))
  else if (ratio !== undefined) Object.assign(rate, bound('≥', ratio, reach.ratio, ' of nginx'))

  const cpu = line('— CPU seconds per GB', (figures) => figures.cpu.toFixed(1))
  if (reach.cpu !== undefined) Object.assign(cpu, bound('≤', ours.cpu, reach.cpu))
  const ratioOf = (value) => value?.toFixed(3) ?? 'unknown'
  const written = line('— bytes written to the drive per byte received', (figures) => ratioOf(figures.written))
  // A small file takes whole blocks, and its name and its flushes take as many again: the bound is for what fills a drive.
  if (reach.written !== undefined && ours.written !== undefined) {
    Object.assign(written, bound('≤', ours.written, reach.written))
  }
  const charged = line('— the same, as processes are charged for it', (figures) => ratioOf(figures.charged))
  return [rate, cpu, written, charged]
}

function bound(sign, value, limit, unit = '') {
  const isReached = sign === '≥' ? value >= limit : value <= limit
  return { reach: `${sign} ${limit}${unit}`, isReached }
}
