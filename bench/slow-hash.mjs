import { startIclood } from './servers.mjs'
import { measureUploads } from './uploads.mjs'

/** Hides the SHA instructions of an x86 processor from OpenSSL: a Raspberry Pi 4 has none either. */
const SLOW = { OPENSSL_ia32cap: ':~0x20000000' }

/**
 * What uploads cost where the processor has no instructions for SHA-256.
 * @param {import('./main.mjs').Bench} bench
 */
export async function measureSlowHash(bench) {
  if (process.arch !== 'x64') return []
  const slow = { name: 'iClood', start: (base) => startIclood(base, { env: SLOW }) }
  const scale = bench.quick ? 4 : 1
  const loads = {
    'photos of 2.5 MB, 1 connection': { kind: 'photo', size: 2_500_000, count: 400 / scale, connections: 1 },
    'photos of 2.5 MB, 4 connections': { kind: 'photo', size: 2_500_000, count: 400 / scale, connections: 4 },
    'one video of 900 MB': { kind: 'video', size: 900_000_000 / scale, count: 1, connections: 1 },
  }
  const rows = []
  for (const [what, files] of Object.entries(loads)) {
    const figures = (await measureUploads({ ...bench, rounds: 1 }, [slow], files)).get(slow.name)
    rows.push({
      what: `without SHA instructions: ${what}`,
      iclood: `${figures.megabytes.toFixed(0)} MB/s, ${figures.cpu.toFixed(1)} CPU s/GB`,
    })
  }
  return rows
}
