import { held } from './report.mjs'
import { icloodAs } from './servers.mjs'
import { measureUploads } from './uploads.mjs'

/** @typedef {import('./main.mjs').Bench} Bench */

/** What our CPU may be, in seconds per GB: hashing alone takes 2 to 4 where the processor has no instructions for it. */
const CPU = { withSha: 4, withoutSha: 9 }

/** @param {Bench} bench */
export async function measurePhotos(bench) {
  const rows = []
  for (const [connections, ratio] of Object.entries({ 1: 0.3, 4: 0.45 })) {
    const files = { kind: 'photo', size: 2_500_000, count: bench.quick ? 80 : 400, connections: Number(connections) }
    const what = `photos of 2.5 MB, ${connections} connection${connections === '1' ? '' : 's'}`
    rows.push(...(await compare(bench, what, files, { ratio, cpu: CPU, written: 1.05 })))
  }
  return rows
}

/** @param {Bench} bench */
export async function measureVideo(bench) {
  const size = bench.quick ? 300_000_000 : 900_000_000
  const files = { kind: 'video', size, count: 1, connections: 1 }
  return compare(bench, `one video of ${size / 1e6} MB`, files, { ratio: 0.55, cpu: CPU, written: 1.05 })
}

/** @param {Bench} bench */
export async function measureSmallFiles(bench) {
  const count = bench.quick ? 1_000 : 5_000
  const files = { kind: 'photo', size: 50_000, count, connections: 8 }
  return compare(bench, `${count.toLocaleString('en')} files of 50 kB, 8 connections`, files, { ratio: 0.12 })
}

/** The lines of one comparison: share of nginx's rate, rate, CPU, what was written. `reach` has what ours should be. */
async function compare(bench, what, files, reach) {
  bench.say(what)
  const { modes } = bench
  const [first, ...others] = modes.map(icloodAs)
  const results = await measureUploads(bench, [first, ...bench.peers, ...others], files)
  const line = (what, show, showOurs = show) => ({
    what,
    ...Object.fromEntries(modes.map((mode) => [mode.column, showOurs(results.get(mode.name), mode)])),
    ...Object.fromEntries(bench.peers.map(({ name }) => [name, show(results.get(name))])),
  })
  const isAlone = !results.has('nginx')
  const ratio = line(
    `${what}: of nginx’s rate`,
    ({ ratio }) => ratio.toFixed(2),
    ({ ratio }) => held(ratio.toFixed(2), ratio >= reach.ratio),
  )
  const isSmall = files.size < 1e6
  const rate = line(what, ({ megabytes, files }) =>
    isSmall ? `${files.toFixed(0)} files/s` : `${megabytes.toFixed(0)} MB/s`,
  )
  const cpu = line(
    '— CPU seconds per GB',
    ({ cpu }) => cpu.toFixed(1),
    ({ cpu }, { hasSha }) =>
      reach.cpu === undefined ? cpu.toFixed(1) : held(cpu.toFixed(1), cpu <= cpuBound(reach.cpu, hasSha)),
  )
  const share = (value) => value?.toFixed(3) ?? 'unknown'
  // A small file takes whole blocks, and its name and its flushes take as many again: the bound is for what fills a drive.
  const written = line(
    '— bytes written to the drive per byte received',
    ({ written }) => share(written),
    ({ written }) =>
      reach.written === undefined || written === undefined
        ? share(written)
        : held(share(written), written <= reach.written),
  )
  const charged = line('— the same, as processes are charged for it', ({ charged }) => share(charged))
  const cpuReach = reach.cpu && modes.map(({ hasSha }) => `≤ ${cpuBound(reach.cpu, hasSha)}`).join('; ')
  return [
    ...(isAlone ? [] : [{ ...ratio, isRatio: true, reach: `≥ ${reach.ratio}` }]),
    rate,
    { ...cpu, ...(cpuReach && { reach: cpuReach }) },
    { ...written, ...(reach.written && { reach: `≤ ${reach.written}` }) },
    charged,
  ]
}

function cpuBound({ withSha, withoutSha }, hasSha) {
  return hasSha === false ? withoutSha : withSha
}
