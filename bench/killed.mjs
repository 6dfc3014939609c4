import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { connectTo } from './household.mjs'
import { bytesOf, costOf } from './process-cost.mjs'
import { startIclood } from './servers.mjs'

const ORIGINALS = 1_000_000
const MONTHS = 240
/** It has nothing more to do when it has used less than this, in CPU seconds, for so long. */
const QUIET_CPU = 0.15
const QUIET_MS = 6_000

/**
 * A start after kill -9 with a large library: until it answers, until it takes photos, until nothing is done in the
 * background any more, and what it reads and writes for that. The originals are empty files in memory.
 * @param {import('./main.mjs').Bench} bench
 */
export async function measureKilled({ modes, quick, originals = quick ? 10_000 : ORIGINALS, say }) {
  const rows = [
    'answers',
    'takes photos',
    'has nothing left to do',
    'has read, of files and by PostgreSQL',
    'has written',
  ].map((what) => ({ what: `after kill -9 with ${originals} originals, ${what}` }))
  for (const { name, column, env, program } of modes) {
    say(`  ${name}`)
    const base = join('/dev/shm', `iclood-killed-${process.pid}`)
    const start = () => startIclood(base, { env: { ...env, DATA_DIR: join(base, 'data') }, program, isMade: true })
    try {
      await mkdir(base)
      const filled = await start()
      await fill(filled, originals)
      await filled.stop({ keep: true })
      const settled = await start()
      await untilQuiet(settled.pid)
      await upload(settled.port)
      await settled.kill()
      await setTimeout(1_000)
      const began = performance.now()
      const server = await start()
      const { quietAfter, bytes } = await untilQuiet(server.pid, began)
      const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`
      const megabytes = (count) => `${Math.round(count / 1e6)} MB`
      const cells = [seconds(server.answeredAt - began), seconds(server.readyAt - began), seconds(quietAfter)]
      for (const [index, cell] of [...cells, megabytes(bytes.read), megabytes(bytes.written)].entries()) {
        rows[index][column] = cell
        say(`    ${rows[index].what}: ${cell}`)
      }
      await server.stop()
    } finally {
      await rm(base, { recursive: true, force: true })
    }
  }
  return rows
}

/** One a minute, from the beginning of its month. */
const TAKEN = `to_date($1, 'YYYY/MM')::timestamptz + n * interval '1 minute'`

async function fill({ dataDir, folder }, originals) {
  const perMonth = Math.ceil(originals / MONTHS)
  const client = await connectTo(dataDir)
  // As a database that was filled from a journal.
  await client.query(`set iclood.outbox = 'snapshot'`)
  await client.query(`set enable_seqscan = on`)
  await client.query('begin')
  for (let month = 0; month < MONTHS; month++) {
    const path = `${2000 + Math.floor(month / 12)}/${String((month % 12) + 1).padStart(2, '0')}`
    await mkdir(join(folder, path), { recursive: true })
    for (let n = 0; n < perMonth; n++) await writeFile(join(folder, path, `IMG_${n}.HEIC`), '')
    await client.query(
      `insert into files (path, checksum, size, media_type, captured_at, captured_offset, stored_at, verified_at, own_date)
       select $1::text || '/IMG_' || n || '.HEIC', sha256(''), 0, 'image/heic', ${TAKEN}, 0, ${TAKEN}, now(), ${TAKEN}
       from generate_series(0, $2::integer - 1) as n`,
      [path, perMonth],
    )
    await client.query(
      `insert into backups (file_name, file_path, original_path, file_size, file_type, mime_type, device_id, timestamp, status,
         asset_id, created, modified, announced_size)
       select 'IMG_' || n || '.HEIC', $1::text || '/IMG_' || n || '.HEIC', 'file:///var/mobile/Media/DCIM/' || $1::text || '/' || n,
         0, 'photo', 'image/heic', 'iPhone', ${TAKEN}, 'Completed', $1::text || '/' || n, 1577836800000, 1577836800000, 0
       from generate_series(0, $2::integer - 1) as n`,
      [path, perMonth],
    )
  }
  await client.query('commit')
  await client.query('vacuum analyze')
  await client.end()
}

async function upload(port) {
  for (let n = 0; n < 3; n++) {
    const form = new FormData()
    form.set('device_id', 'iPhone')
    form.set('file', new Blob([`photo ${n}`], { type: 'image/jpeg' }), `NEW_${n}.JPG`)
    const answer = await fetch(`http://127.0.0.1:${port}/photos/upload`, { method: 'POST', body: form })
    if (answer.status !== 201) throw new Error(`the upload was answered ${answer.status}: ${await answer.text()}`)
  }
}

/** Resolves with the ms after `began` at which the tree of `pid` had last something to do, and the bytes until then. */
async function untilQuiet(pid, began = performance.now()) {
  let [cpu, busyAt, bytes] = [costOf(pid).cpu, performance.now(), bytesOf(pid)]
  for (;;) {
    await setTimeout(500)
    const now = costOf(pid).cpu
    if (now - cpu > QUIET_CPU / (QUIET_MS / 500)) {
      busyAt = performance.now()
      bytes = bytesOf(pid)
    }
    cpu = now
    if (performance.now() - busyAt > QUIET_MS) return { quietAfter: busyAt - began, bytes }
  }
}
