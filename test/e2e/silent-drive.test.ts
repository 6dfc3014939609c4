import { mkdir, readdir, readFile, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { Drive } from '../../src/storage/drive.ts'
import { drive, makeDrive } from '../support/drives.ts'
import { jpeg } from '../support/media.ts'
import { needs } from '../support/needs.ts'
import { get, upload } from '../support/phone.ts'
import { makeFolder, startServer } from '../support/server.ts'
import { until } from '../support/until.ts'

/** The process that serves the FUSE file system at `path`. */
async function daemonOf(path: string): Promise<number> {
  for (const id of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const text = await readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '')
    if (text.startsWith('mount.exfat-fuse') && text.split('\0').includes(path)) return Number(id)
  }
  throw new Error(`nobody serves ${path}`)
}

it(
  'SIGTERM ends a server whose drive never answers, and it answers phones until then',
  needs(drive('exfat')),
  async () => {
    const disk = await makeDrive('exfat')
    const folder = await makeFolder()
    const library = join(disk.path, 'photos')
    await mkdir(library)
    const server = await startServer(folder, { UPLOAD_FOLDER: library })
    const photo = (seed: string) => jpeg({ date: '2024:07:01 12:00:00', seed })
    expect((await upload(server.url, photo('a'))).status).toBe(201)

    const daemon = await daemonOf(disk.path)
    process.kill(daemon, 'SIGSTOP')
    // Whoever looks at the same drive by itself, as each report of a second copy does.
    const [one, another] = [0, 1].map(() => new Drive(library, 'x', { onMissing: () => {}, onReturned: () => {} }))
    const refused = expect(one?.answered(() => statfs(library))).rejects.toMatchObject({ code: 'drive_error' })
    try {
      await until('it is told that the drive is silent', async () => {
        const { body } = await get(server.url, '/library/health')
        return JSON.stringify(body.problems).includes('The drive does not answer')
      })
      expect(await upload(server.url, photo('c'))).toMatchObject({ status: 503, body: { code: 'drive_error' } })
      expect((await get(server.url, '/ping')).status).toBe(200)
      await refused
      let isAsked = false
      const asking = another?.answered(async () => {
        isAsked = true
      })
      await expect(asking).rejects.toMatchObject({ code: 'drive_error' })
      expect(isAsked).toBe(false)
      const ended = server.ended()
      await server.stop()
      await ended
    } finally {
      // Before anything unmounts it, which would wait for ever.
      process.kill(daemon, 'SIGCONT')
    }
    await until(
      'it is asked again',
      async () => (await another?.answered(async () => true).catch(() => false)) === true,
    )
  },
)
