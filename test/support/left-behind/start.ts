import { spawn } from 'node:child_process'
import { appendFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { drive, makeDrive } from '../drives.ts'
import { postmasterOf } from '../embedded.ts'
import { makeFolder, startServer } from '../server.ts'
import { EMBEDDED } from '../surroundings.ts'
import { startOf } from './start-of.ts'

const note = (line: string) => appendFileSync(process.env['LEFT_BEHIND'] ?? '', `${line}\n`)

/** A process by its number, which another one may get, and the moment of its start. */
function noteProcess(pid: number | undefined): void {
  note(`process ${pid} ${startOf(Number(pid))}`)
}

/**
 * Starts all kinds of things, some of them past every helper, and notes them: `process 17 …`, `path /tmp/…`, `image
 * /tmp/…`.
 */
export async function startThings(): Promise<number> {
  const folder = await makeFolder()
  note(`path ${folder}`)
  const server = await startServer(folder, EMBEDDED)
  noteProcess(server.pid)
  noteProcess(await postmasterOf(join(folder, 'data/postgres')))
  if (drive('tmpfs') === undefined) note(`path ${(await makeDrive('tmpfs')).path}`)
  const kind = 'ext4'
  if (drive(kind) === undefined) {
    const { path } = await makeDrive(kind)
    note(`path ${path}`)
    note(`image ${join(path, '../image')}`)
  }

  const past = await mkdtemp(join(tmpdir(), 'past-'))
  note(`path ${past}`)
  const child = spawn('sleep', ['6000'], { detached: true, stdio: 'ignore' })
  noteProcess(child.pid)
  child.unref()
  return server.pid
}
