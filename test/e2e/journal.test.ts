import { createHash } from 'node:crypto'
import { appendFile, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCommand } from '../support/command.ts'
import { drive, fillUp, makeDrive, originalsIn, stagedIn, type TestDrive } from '../support/drives.ts'
import { JOURNAL, journalIn, readAsForeigner, sha256sum, summedIn } from '../support/journal.ts'
import { jpeg, mov } from '../support/media.ts'
import { command, needs } from '../support/needs.ts'
import { get, post, upload } from '../support/phone.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

const programs = needs(command('python3', 'python3'), command('sha256sum', 'coreutils'))
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const path = (name: string) => `file:///var/mobile/Media/DCIM/100APPLE/${name}`

let photos = 0

/** A photo that nobody has seen before. */
function newPhoto(date = '2024:07:01 12:00:00'): Buffer {
  photos += 1
  return jpeg({ date, size: 20_000, seed: `journal ${photos}` })
}

async function send(server: TestServer, name: string, bytes: Buffer, fields: Record<string, string> = {}) {
  const answer = await upload(server.url, bytes, { name, fields: { device_id: 'iPhone', ...fields } })
  expect([200, 201]).toContain(answer.status)
  return answer.body.backup
}

/** What the drive tells, in the words of the API. */
async function told(library: string) {
  const { backups, ignored } = await readAsForeigner(library)
  const log = Object.values(backups).map((line) => ({
    id: line.id,
    file_name: line.name,
    file_path: line.original?.path ?? null,
    file_size: line.size,
    file_type: line.kind,
    mime_type: line.media_type,
    timestamp: line.at,
    status: line.status,
    original_path: line.phone_path,
    device_id: line.device,
    captured_at: line.original?.captured_at ?? null,
    sha256: line.original?.sha256 ?? null,
    ...(line.failure === null ? {} : { failure: line.failure }),
  }))
  const ignoredFiles = Object.values(ignored).map((line) => ({
    id: line.id,
    file_name: line.name,
    path: line.phone_path,
    original_path: line.phone_path,
    asset_id: line.asset_id,
    device_id: line.device,
    timestamp: line.at,
  }))
  return { log: byId(log), ignored: byId(ignoredFiles) }
}

async function answered(server: TestServer) {
  const { body } = await get(server.url, '/backup/log?limit=10000')
  const ignored = await get(server.url, '/photos/ignored')
  return { log: byId(body.backups), ignored: byId(ignored.body.ignored_files) }
}

function byId<Row extends { id: number }>(rows: readonly Row[]): Row[] {
  return rows.toSorted((a, b) => a.id - b.id)
}

/** Each month folder's file says all that lies there, and sha256sum finds it right. */
async function expectSums(library: string): Promise<void> {
  const originals = await originalsIn(library)
  const folders = new Set(originals.map((original) => original.slice(0, 7)))
  expect(folders.size).toBeGreaterThan(0)
  for (const folder of folders) {
    const names = originals.filter((original) => original.startsWith(folder)).map((original) => original.slice(8))
    expect((await summedIn(join(library, folder))).toSorted(), folder).toEqual(names.toSorted())
    const { code, output } = await sha256sum(join(library, folder))
    expect(code, output).toBe(0)
  }
}

async function expectComplete(server: TestServer): Promise<void> {
  expect(await told(server.library)).toEqual(await answered(server))
  await expectSums(server.library)
}

/** Resolves once the drive tells all that the server knows. */
async function untilComplete(server: TestServer): Promise<void> {
  await until('the drive tells everything', async () => {
    try {
      await expectComplete(server)
      return true
    } catch {
      return false
    }
  }).catch(() => {})
  await expectComplete(server)
}

/** The paths of the originals whose assets the journal calls failed. */
async function failedIn(library: string): Promise<string[]> {
  const { log } = await told(library)
  return log.flatMap(({ status, file_path }) => (status === 'Failed' && file_path !== null ? file_path : []))
}

const snapshots = async (library: string) => (await journalIn(library)).filter((name) => name.includes('snapshot'))

describe('the drive describes itself:', programs, () => {
  let folder: string
  let server: TestServer
  beforeAll(async () => {
    folder = await makeFolder()
    server = await startServer(folder)
  })
  afterAll(async () => {
    await server.stop()
    await removeFolder(folder)
  })

  it('soon after the answer, journal and sums have it, whatever has changed', async () => {
    const first = newPhoto()
    await send(server, 'IMG_0001.JPG', first, {
      original_path: path('IMG_0001.JPG'),
      asset_id: 'A/1',
      created: '1719828000000.5',
    })
    await send(server, 'Straße\\n ❤️.JPG', newPhoto())
    await send(server, 'IMG_0003.MOV', mov({ creationDate: '2023-12-31T23:30:01+0100', size: 30_000 }))
    // The same content from another phone, and offered with its checksum.
    await send(server, 'copy.jpg', first, { device_id: 'iPad', original_path: 'ph://copy' })
    const offered = { path: 'ph://known', name: 'known.jpg', sha256: sha256(first) }
    expect((await post(server.url, '/photos/new', { device_id: 'Mac', files: [offered] })).body.backed_up_count).toBe(1)
    // One that failed, and one that failed and is announced anew under another name.
    const failing = { path: path('BAD.JPG'), id: 'B/1', name: 'BAD.JPG', created: 1_719_828_000_000 }
    await post(server.url, '/photos/new', { device_id: 'iPhone', files: [failing, { path: 'ph://pending' }] })
    const fields = { device_id: 'iPhone', original_path: failing.path, asset_id: 'B/1', sha256: 'ab'.repeat(32) }
    expect((await upload(server.url, newPhoto(), { name: 'BAD.JPG', fields })).status).toBe(422)
    const renamed = { ...failing, name: 'BAD again.JPG' }
    expect((await post(server.url, '/photos/new', { device_id: 'iPhone', files: [renamed] })).body.count).toBe(1)
    const files = ['ph://1', 'ph://2', 'ph://3'].map((ignored) => ({ path: ignored, id: 'I', name: 'no.jpg' }))
    await post(server.url, '/photos/ignore', { device_id: 'iPhone', files })
    await post(server.url, '/photos/unignore', { device_id: 'iPhone', files: files.slice(1, 2) })

    await untilComplete(server)
    const { log, ignored } = await told(server.library)
    expect(log.map(({ status }) => status).toSorted()).toEqual([...Array(5).fill('Completed'), 'Failed'])
    expect(log.find(({ status }) => status === 'Failed')?.file_name).toBe('BAD again.JPG')
    expect(ignored).toHaveLength(2)
    const { backups } = await readAsForeigner(server.library)
    expect(Object.values(backups)[0]).toMatchObject({ asset_id: 'A/1', created: 1_719_828_000_000.5 })
  })

  it('a photo that takes the place of one that was lost leaves the journal and the sums right', async () => {
    const bytes = newPhoto('2022:05:05 12:00:00')
    const { file_path } = await send(server, 'LOST.JPG', bytes)
    await untilComplete(server)
    await rm(join(server.library, file_path))
    await writeFile(join(server.library, file_path), 'something else')
    const again = await send(server, 'LOST.JPG', bytes)
    expect(again.sha256).toBe(sha256(bytes))
    await until('journal and catalogue agree', async () => {
      const [drives, answers] = [await told(server.library), await answered(server)]
      return isDeepStrictEqual(drives, answers)
    })
    const name = again.file_path.slice(8)
    const sums = await until('it has its line', async () => {
      const found = await summedIn(join(server.library, '2022/05'))
      return found.includes(name) && found
    })
    expect(new Set(sums).size).toBe(sums.length)
  })

  it('no photo is called SHA256SUMS, and one that was sent as such is not taken for it', async () => {
    for (const name of ['SHA256SUMS', 'sha256sums']) {
      const bytes = newPhoto('2021:01:01 12:00:00')
      const { file_path } = await send(server, name, bytes)
      expect(file_path).toMatch(/^2021\/01\/sha256sums \(\d\)$/i)
      expect((await readFile(join(server.library, file_path))).equals(bytes)).toBe(true)
    }
    await untilComplete(server)
  })

  it('nothing is written while nothing changes', async () => {
    await untilComplete(server)
    const before = await journalIn(server.library)
    const sizes = await Promise.all(before.map((name) => readFile(join(server.library, JOURNAL, name))))
    const sent = await post(server.url, '/photos/new', {
      device_id: 'iPhone',
      files: [{ path: path('IMG_0001.JPG'), id: 'A/1' }],
    })
    expect(sent.body.backed_up_count).toBe(1)
    // What comes after it is written after it.
    await post(server.url, '/photos/ignore', { device_id: 'iPhone', files: [{ path: 'ph://ignored at last' }] })
    await untilComplete(server)
    expect(await journalIn(server.library)).toEqual(before)
    const added = await Promise.all(
      before.map(async (name, index) => {
        const bytes = await readFile(join(server.library, JOURNAL, name))
        return bytes.subarray(sizes[index]?.length).toString()
      }),
    )
    expect(added.join('')).toMatch(/^[^\n]*"ph:\/\/ignored at last"[^\n]*\n$/)
  })

  it('after kill -9, the next start completes what was lost, and mends what was torn, without a new snapshot', async () => {
    await untilComplete(server)
    for (let round = 0; round < 2; round++) {
      for (const month of ['2024:07', '2024:08', '2023:12', '2021:01']) {
        await send(server, `KILLED_${round}.JPG`, newPhoto(`${month}:01 12:00:00`))
      }
      await server.kill()
      const files = await journalIn(server.library)
      if (round === 1) {
        await appendFile(join(server.library, JOURNAL, files.at(-1) ?? ''), '{"type":"backup","id":1,"name":"to')
        await appendFile(join(server.library, '2024/07/SHA256SUMS'), '0123456789abc')
        await truncate(join(server.library, '2023/12/SHA256SUMS'), 70)
        await rm(join(server.library, '2021/01/SHA256SUMS'))
      }
      server = await startServer(folder)
      await untilComplete(server)
      // A log of its own, behind all that was there.
      expect((await journalIn(server.library)).slice(0, -1)).toEqual(files)
      await until('staging is empty', async () => (await stagedIn(server.library)).length === 0)
    }
  })

  it('what a command changes is told, too, whether a server is running or not', async () => {
    await untilComplete(server)
    const photos = [newPhoto('2019:03:03 12:00:00'), newPhoto('2019:03:03 12:00:00')] as const
    const { file_path: first } = await send(server, 'FIRST.JPG', photos[0])
    const { file_path: second } = await send(server, 'SECOND.JPG', photos[1])
    await untilComplete(server)

    await writeFile(join(server.library, '2019/03/stranger.jpg'), newPhoto('2019:03:03 12:00:00'))
    expect((await runCommand(folder, ['rebuild'])).code).toBe(0)
    await until('the stranger has its line', async () =>
      (await summedIn(join(server.library, '2019/03'))).includes('stranger.jpg'),
    )
    expect(Object.keys((await readAsForeigner(server.library)).originals)).toContain('2019/03/stranger.jpg')

    await rm(join(server.library, first))
    expect((await runCommand(folder, ['verify', '--path', '2019/03'])).code).toBe(1)
    await until('it has failed in the journal', async () => (await failedIn(server.library)).includes(first))

    expect(await server.stop()).toBe(0)
    await rm(join(server.library, second))
    expect((await runCommand(folder, ['verify', '--path', '2019/03'])).code).toBe(1)
    expect(await failedIn(server.library)).not.toContain(second)
    server = await startServer(folder)
    await until('the second has failed, too', async () => (await failedIn(server.library)).includes(second))
    expect(await told(server.library)).toEqual(await answered(server))
    for (const photo of photos) await send(server, 'AGAIN.JPG', photo)
    await untilComplete(server)
  })

  it('a clean stop leaves everything, at once, and the next start has nothing to mend', async () => {
    await untilComplete(server)
    await send(server, 'LAST.JPG', newPhoto('2020:02:02 12:00:00'))
    await post(server.url, '/photos/ignore', { device_id: 'iPhone', files: [{ path: 'ph://last' }] })
    const expected = await answered(server)
    expect(await server.stop()).toBe(0)
    expect(await told(server.library)).toEqual(expected)
    await expectSums(server.library)

    const before = await journalIn(server.library)
    server = await startServer(folder)
    await send(server, 'NEXT.JPG', newPhoto('2020:02:02 12:00:00'))
    await untilComplete(server)
    // A log of its own, behind all that was there.
    expect((await journalIn(server.library)).slice(0, -1)).toEqual(before)
  })

  it('a journal that is gone is written anew at the next start', async () => {
    expect(await server.stop()).toBe(0)
    await rm(join(server.library, JOURNAL), { recursive: true })
    server = await startServer(folder)
    await until('there is a snapshot', async () => (await snapshots(server.library)).length === 1)
    await untilComplete(server)
  })
})

describe('a drive that comes and goes', needs(drive('tmpfs'), command('python3', 'python3')), () => {
  let folder: string
  let usb: TestDrive
  let server: TestServer
  beforeAll(async () => {
    folder = await makeFolder()
    usb = await makeDrive('tmpfs', 8 * 1024 * 1024)
    server = await startServer(folder, { UPLOAD_FOLDER: usb.path })
  })
  afterAll(async () => {
    await server.stop()
    await removeFolder(folder)
  })

  it('is told when it is back what has changed in the meantime', async () => {
    await send(server, 'BEFORE.JPG', newPhoto())
    await untilComplete(server)
    await send(server, 'JUST BEFORE.JPG', newPhoto())
    await usb.unmount()
    const files = [{ path: 'ph://ignored while it was away' }]
    expect((await post(server.url, '/photos/ignore', { device_id: 'iPhone', files })).status).toBe(200)
    await until('it was tried in vain', async () => server.output().includes('drive_missing'))
    expect(await readdir(usb.path)).toEqual([])
    expect((await get(server.url, '/ping')).status).toBe(200)
    await usb.mount()
    await untilComplete(server)
    expect((await answered(server)).ignored).toHaveLength(1)
  })

  it('is told everything when it comes back as it was earlier', async () => {
    await send(server, 'EARLIER.JPG', newPhoto())
    await untilComplete(server)
    await usb.unmount()
    await usb.mount()
    const [last = ''] = (await journalIn(usb.path)).slice(-1)
    await usb.unmount()
    await expect(send(server, 'AWAY.JPG', newPhoto())).rejects.toThrow()
    await usb.mount()
    await rm(join(usb.path, JOURNAL, last))
    await until('it is noticed', async () => (await get(server.url, '/storage/status')).status === 200)
    await untilComplete(server)
  })

  it('that is full takes photos no worse, and is told when there is room again', async () => {
    await untilComplete(server)
    const before = await journalIn(usb.path)
    const ballast = join(usb.path, 'ballast')
    await send(server, 'FULL.JPG', newPhoto('2024:11:01 12:00:00'))
    await fillUp(ballast)
    const files = Array.from({ length: 200 }, (_, number) => ({ path: `ph://more than fits/${number}` }))
    expect((await post(server.url, '/photos/ignore', { device_id: 'iPhone', files })).status).toBe(200)
    await until('it was tried', async () =>
      /disk_full.*the journal on the drive can’t be written/.test(server.output()),
    )
    expect(await journalIn(usb.path)).toEqual(before)
    expect((await get(server.url, '/backup/log')).body.backups[0].file_name).toBe('FULL.JPG')
    await rm(ballast)
    await untilComplete(server)
    expect(server.output()).toContain('the journal on the drive is up to date again')
  })
})
