import { execFileSync, spawn } from 'node:child_process'
import { appendFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { drive, makeDrive } from '../drives.ts'
import { postmasterOf } from '../embedded.ts'
import { makeFolder, startServer } from '../server.ts'
import { EMBEDDED } from '../surroundings.ts'

const note = (line: string) => appendFileSync(process.env['LEFT_BEHIND'] ?? '', `${line}\n`)

/** Starts all kinds of things, some of them past every helper, and notes them: `pid 17`, `path /tmp/…`. */
export async function startThings(): Promise<number> {
  const folder = await makeFolder()
  note(`path ${folder}`)
  const server = await startServer(folder, EMBEDDED)
  note(`pid ${server.pid}`)
  note(`pid ${await postmasterOf(join(folder, 'data/postgres'))}`)
  if (drive('tmpfs') === undefined) note(`path ${(await makeDrive('tmpfs')).path}`)
  const kind = 'ext4'
  if (drive(kind) === undefined) {
    const { path } = await makeDrive(kind)
    note(`path ${path}`)
    const device = execFileSync('findmnt', ['-n', '-o', 'SOURCE', path]).toString().trim()
    note(`path /sys/block/${device.slice('/dev/'.length)}/loop`)
  }

  const past = await mkdtemp(join(tmpdir(), 'past-'))
  note(`path ${past}`)
  const child = spawn('sleep', ['6000'], { detached: true, stdio: 'ignore' })
  note(`pid ${child.pid}`)
  child.unref()
  return server.pid
}
