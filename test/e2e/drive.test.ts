import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, readlink, rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { LEFT_ALONE } from '../../src/storage/staging.ts'
import {
  drive,
  type FileSystem,
  fillUp,
  makeDrive,
  originalsIn,
  stagedIn,
  type TestDrive,
  uploadsIn,
} from '../support/drives.ts'
import { jpeg, mov, noise } from '../support/media.ts'
import { needs } from '../support/needs.ts'
import { get, post, upload } from '../support/phone.ts'
import { httpChunk, RawConnection, rawUpload, uploadHead } from '../support/raw-http.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

const MB = 1024 * 1024
const DATE = '2024:07:01 12:00:00'
let seed = 0
/** A photo that nobody has seen before. */
const photo = (size = 50_000) => jpeg({ date: DATE, size, seed: `drive ${seed++}` })

/** Says that the upload of a photo fails in this way. */
async function expectRefused(server: TestServer, status: number, code: string): Promise<void> {
  const answer = await upload(server.url, photo())
  expect(answer).toMatchObject({ status, body: { status: 'error', code } })
  expect(answer.headers.get('retry-after')).toMatch(/^\d+$/)
}

/** Waits until uploads go on, and checks that the photo is whole. */
async function expectResumed(server: TestServer): Promise<void> {
  const bytes = photo()
  const { file_path: path } = await until('uploads go on', async () => {
    const answer = await upload(server.url, bytes)
    return answer.status === 201 && answer.body.backup
  })
  expect((await readFile(join(server.library, path))).equals(bytes)).toBe(true)
}

/** The beginning of an upload that stops after its first 2 MB; resolves once some of it lies in staging. */
async function beginUpload(server: TestServer, bytes: Buffer, length?: number) {
  const connection = await RawConnection.open(server.port)
  const { boundary, head, tail } = rawUpload()
  const whole = Buffer.concat([head, bytes, tail])
  const framed = (chunk: Buffer) => (length === undefined ? httpChunk(chunk) : chunk)
  const before = (await uploadsIn(server.library)).length
  await connection.write(uploadHead(boundary, length === undefined ? undefined : whole.length))
  await connection.write(framed(whole.subarray(0, 2 * MB)))
  await until('the upload lies in staging', async () => (await uploadsIn(server.library)).length > before)
  return {
    connection,
    finish: async () => {
      await connection.write(framed(whole.subarray(2 * MB)))
      if (length === undefined) await connection.write(httpChunk(Buffer.alloc(0)))
      return connection.answer()
    },
  }
}

async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path)
  return bavail * bsize
}

describe('a full drive', needs(drive('tmpfs')), () => {
  let full: TestDrive
  let folder: string
  let server: TestServer
  beforeAll(async () => {
    full = await makeDrive('tmpfs', 48 * MB)
    folder = await makeFolder()
    server = await startServer(folder, { UPLOAD_FOLDER: full.path, MIN_FREE_SPACE: '8' })
  })
  afterAll(async () => {
    await server.stop()
    await full.remove()
    await removeFolder(folder)
  })
  afterEach(async () => {
    expect(await uploadsIn(full.path)).toEqual([])
  })

  it('refuses what does not fit with what is needed and what is free, before the body is sent', async () => {
    const connection = await RawConnection.open(server.port)
    const { boundary } = rawUpload()
    const before = await freeBytes(full.path)
    await connection.write(uploadHead(boundary, 100 * MB))
    const answer = await connection.answer()
    expect(answer).toMatchObject({ status: 507 })
    expect(answer?.json()).toMatchObject({ status: 'error', code: 'disk_full' })
    // The server itself may write a little at any moment.
    const after = await freeBytes(full.path)
    const message = String(answer?.json().message)
    expect(message).toContain(String(100 * MB))
    const numbers = [...message.matchAll(/\d+/g)].map(([digits]) => Number(digits) + 8 * MB)
    expect(numbers.some((free) => free >= Math.min(before, after) && free <= Math.max(before, after))).toBe(true)
    connection.close()
  })

  it('does not even call for the body of a client that asks first', async () => {
    const connection = await RawConnection.open(server.port)
    await connection.write(uploadHead(rawUpload().boundary, 100 * MB, 'expect: 100-continue\r\n'))
    // The answer that comes first is the final one.
    let received = ''
    connection.socket.on('data', (chunk) => {
      received += chunk
    })
    expect(await connection.answer()).toMatchObject({ status: 507 })
    expect(received).toMatch(/^HTTP\/1\.1 507/)
    connection.close()
  })

  it('stops an upload of unknown length where the space ends, and smaller files still get in', async () => {
    const before = await freeBytes(full.path)
    const begun = await beginUpload(server, noise(60 * MB, 'too long'))
    const answer = await begun.finish()
    expect(answer).toMatchObject({ status: 507 })
    expect(answer?.json()).toMatchObject({ code: 'disk_full', message: expect.stringMatching(/\d{6,}.*\d/) })
    begun.connection.close()
    // The journal may have been begun meanwhile.
    await until('the space is free again', async () => (await freeBytes(full.path)) > before - MB)
    expect((await upload(server.url, photo(MB))).status).toBe(201)
  })

  it('counts what uploads in flight still need: of two that fit only one by one the second is to come later', async () => {
    const bytes = jpeg({ date: DATE, size: 25 * MB, seed: 'the first' })
    const first = await beginUpload(server, bytes, bytes.length)
    const second = await upload(server.url, jpeg({ date: DATE, size: 25 * MB, seed: 'the second' }))
    expect(second).toMatchObject({ status: 503, body: { code: 'space_promised' } })
    expect(second.headers.get('retry-after')).toMatch(/^\d+$/)
    // What would not fit by itself either.
    const third = await upload(server.url, jpeg({ date: DATE, size: 45 * MB, seed: 'the third' }))
    expect(third).toMatchObject({ status: 507, body: { code: 'disk_full' } })
    expect((await upload(server.url, photo(MB))).status).toBe(201)

    const answer = await first.finish()
    expect(answer).toMatchObject({ status: 201 })
    first.connection.close()
    const stored = await readFile(join(full.path, answer?.json().backup.file_path))
    expect(stored.equals(bytes)).toBe(true)
  })

  it('keeps MIN_FREE_SPACE free, and says how much there is', async () => {
    for (;;) {
      const answer = await upload(server.url, photo(MB))
      if (answer.status === 507) break
      expect(answer.status).toBe(201)
    }
    const free = await freeBytes(full.path)
    expect(free).toBeGreaterThanOrEqual(8 * MB)
    expect(free).toBeLessThan(9.5 * MB)
    expect((await get(server.url, '/storage/status')).body.storage).toMatchObject({
      free_bytes: free,
      total_bytes: 48 * MB,
      used_bytes: 48 * MB - free,
    })
    // What is there already needs no space.
    expect((await post(server.url, '/photos/new', { files: [{ path: 'another' }] })).status).toBe(200)
  })
})

it(
  'a drive that another program fills in the middle of an upload: 507, and nothing is left of it',
  needs(drive('tmpfs')),
  async () => {
    const full = await makeDrive('tmpfs', 32 * MB)
    const folder = await makeFolder()
    const server = await startServer(folder, { UPLOAD_FOLDER: full.path, MIN_FREE_SPACE: '0' })
    try {
      const bytes = jpeg({ date: DATE, size: 20 * MB, seed: 'overtaken' })
      const begun = await beginUpload(server, bytes, bytes.length)
      const filling = join(full.path, 'other.bin')
      await fillUp(filling)
      expect(await freeBytes(full.path)).toBeLessThan(MB)

      const answer = await begun.finish()
      expect(answer).toMatchObject({ status: 507 })
      expect(answer?.json()).toMatchObject({ code: 'disk_full', message: expect.stringMatching(/\d+ bytes.*\d+/) })
      begun.connection.close()
      expect(await uploadsIn(full.path)).toEqual([])
      expect((await get(server.url, '/ping')).status).toBe(200)

      await rm(filling)
      expect((await upload(server.url, bytes)).status).toBe(201)
    } finally {
      await server.stop()
      await full.remove()
      await removeFolder(folder)
    }
  },
)

describe('a drive that goes away', needs(drive('tmpfs')), () => {
  let usb: TestDrive
  let folder: string
  let server: TestServer
  /** Everything that is mounted and the server: as at the end of a good day. */
  const known = { device_id: 'iPhone', files: [{ id: 'known', path: 'ph://known', size: 0 }] }
  beforeAll(async () => {
    usb = await makeDrive('tmpfs')
    folder = await makeFolder()
    server = await startServer(folder, { UPLOAD_FOLDER: usb.path })
    await post(server.url, '/photos/new', known)
    const fields = { device_id: 'iPhone', original_path: 'ph://known' }
    expect((await upload(server.url, photo(), { fields })).status).toBe(201)
  })
  afterAll(async () => {
    await server.stop()
    await usb.remove()
    await removeFolder(folder)
  })

  it('can be unmounted while phones are connected: nothing is held open', async () => {
    const connection = await RawConnection.open(server.port)
    await connection.write('GET /storage/status HTTP/1.1\r\nhost: localhost\r\n\r\n')
    expect(await connection.answer()).toMatchObject({ status: 200 })
    await usb.unmount()
    await usb.mount()
    connection.close()
    await expectResumed(server)
  })

  it('is missed by uploads and figures alone, is not written to, and resumes when it is back', async () => {
    await usb.unmount()
    for (let round = 0; round < 3; round++) {
      await expectRefused(server, 503, 'drive_missing')
      for (const path of ['/storage/status', '/storage/usage']) {
        expect(await get(server.url, path)).toMatchObject({ status: 503, body: { code: 'drive_missing' } })
      }
    }
    expect((await get(server.url, '/ping')).status).toBe(200)
    expect((await get(server.url, '/backup/log')).body).toMatchObject({ status: 'success' })
    const list = { ...known, files: [...known.files, { path: 'ph://wanted', sha256: 'ab'.repeat(32) }] }
    const answer = await post(server.url, '/photos/new', list)
    expect(answer).toMatchObject({ status: 503, body: { status: 'error', code: 'drive_missing' } })
    expect(answer.headers.get('retry-after')).toBe('30')
    expect(await readdir(usb.path)).toEqual([])
    expect(server.output()).toMatch(/drive_missing.*(mount|Mount)/)

    await usb.mount()
    await expectResumed(server)
    expect(server.output()).toContain('the drive is back')
  })

  it('leaves nothing under its mount point when it goes in the middle of an upload', async () => {
    const bytes = jpeg({ date: DATE, size: 6 * MB, seed: 'cut off' })
    const begun = await beginUpload(server, bytes, bytes.length)
    await usb.detach()
    const answer = await begun.finish()
    expect(answer).toMatchObject({ status: 503 })
    expect(answer?.json()).toMatchObject({ code: 'drive_missing' })
    begun.connection.close()
    expect(await readdir(usb.path)).toEqual([])

    await usb.mount()
    await expectResumed(server)
    await until('staging is cleared', async () => (await stagedIn(usb.path)).length === 0)
    expect((await upload(server.url, bytes)).status).toBe(201)
  })

  it('is not replaced by another drive under the same path', async () => {
    await usb.unmount()
    const other = await makeDrive('tmpfs')
    try {
      await writeFile(join(other.path, 'someone else’s.txt'), 'text')
      await mkdir(join(other.path, '.iclood'))
      const identity = join(other.path, '.iclood/library.json')
      await writeFile(identity, '{"format":1,"id":"11111111-2222-4333-8444-555555555555"}')
      await usb.mount()
      await promisify(execFile)('mount', ['--bind', other.path, usb.path])
      await expectRefused(server, 503, 'drive_missing')
      await expectRefused(server, 503, 'drive_missing')
      expect((await readdir(usb.path, { recursive: true })).sort()).toEqual([
        '.iclood',
        '.iclood/library.json',
        'someone else’s.txt',
      ])
      await usb.unmount()
      await expectResumed(server)
    } finally {
      await other.remove()
    }
  })

  it('is another one when its identity file says so, even in place', async () => {
    const identity = join(usb.path, '.iclood/library.json')
    const mine = await readFile(identity, 'utf8')
    const before = await originalsIn(usb.path)
    await writeFile(identity, mine.replace(/"id": ?"[^"]+"/, '"id":"11111111-2222-4333-8444-555555555555"'))
    await until('the change is seen', async () => (await get(server.url, '/storage/status')).status === 503)
    await expectRefused(server, 503, 'drive_missing')
    expect(await originalsIn(usb.path)).toEqual(before)
    await writeFile(identity, mine)
    await expectResumed(server)
  })

  it('may be away at the start and come later', async () => {
    expect(await server.stop()).toBe(0)
    await usb.unmount()
    server = await startServer(folder, { UPLOAD_FOLDER: usb.path })
    await expectRefused(server, 503, 'drive_missing')
    expect(await get(server.url, '/storage/usage')).toMatchObject({ status: 503, body: { code: 'drive_missing' } })
    expect(await post(server.url, '/photos/new', known)).toMatchObject({ status: 503, body: { code: 'drive_missing' } })
    expect((await get(server.url, '/backup/log')).status).toBe(200)
    expect(await readdir(usb.path)).toEqual([])

    await usb.mount()
    await expectResumed(server)
  })

  it('is refused by name when it is read-only, and written to again when it is not', async () => {
    await usb.remount('ro')
    await expectRefused(server, 503, 'drive_error')
    expect(await get(server.url, '/storage/status')).toMatchObject({ status: 200 })
    expect(server.output()).toContain('EROFS')
    await usb.remount('rw')
    await expectResumed(server)
    expect(await uploadsIn(usb.path)).toEqual([])
  })

  it('is read-only at the start: the server lives, and goes on when it may write', async () => {
    await server.kill()
    await writeFile(join(usb.path, '.iclood/incoming/0b9e7a52-6f3c-4d7e-9a51-2f4c8d1e3a70.part'), 'left by a crash')
    await usb.remount('ro')
    server = await startServer(folder, { UPLOAD_FOLDER: usb.path })
    await expectRefused(server, 503, 'drive_error')
    await usb.remount('rw')
    await expectResumed(server)
    await until('staging is cleared', async () => (await stagedIn(usb.path)).length === 0)
  })
})

describe('a library on the system disk', () => {
  let folder: string
  let server: TestServer
  beforeEach(async () => {
    folder = await makeFolder()
    server = await startServer(folder)
    expect((await upload(server.url, photo())).status).toBe(201)
  })
  afterEach(async () => {
    await server.stop()
    await removeFolder(folder)
  })

  it('has an identity that stays the same from start to start', async () => {
    const text = await readFile(join(server.library, '.iclood/library.json'), 'utf8')
    expect(JSON.parse(text)).toMatchObject({ id: expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/) })
    await server.stop()
    server = await startServer(folder)
    await expectResumed(server)
    expect(await readFile(join(server.library, '.iclood/library.json'), 'utf8')).toBe(text)
  })

  it('that vanishes is a drive that isn’t there; what lies there later without the identity is not written to', async () => {
    await rm(server.library, { recursive: true })
    await expectRefused(server, 503, 'drive_missing')
    await mkdir(server.library)
    await expectRefused(server, 503, 'drive_missing')
    expect(await readdir(server.library)).toEqual([])
    expect((await get(server.url, '/ping')).status).toBe(200)

    await server.stop()
    server = await startServer(folder)
    await expectRefused(server, 503, 'drive_missing')
    expect(await readdir(server.library)).toEqual([])
  })

  it('whose folders a person tidies away while it runs takes photos all the same', async () => {
    await rm(join(server.library, '2024/07'), { recursive: true })
    await expectResumed(server)
    await rm(join(server.library, '2024'), { recursive: true })
    await expectResumed(server)
    await rm(join(server.library, '.iclood/incoming'), { recursive: true })
    await expectResumed(server)
  })

  it('has nothing left of clients that go away in the middle, on the drive and in the process', async () => {
    const bytes = jpeg({ date: DATE, size: 6 * MB, seed: 'abandoned' })
    for (const length of [bytes.length, undefined]) {
      await Promise.all(
        Array.from({ length: 12 }, async (_, client) => {
          const connection = await RawConnection.open(server.port)
          const { boundary, head } = rawUpload()
          await connection.write(uploadHead(boundary, length && length + head.length + 1000))
          const sent = Buffer.concat([head, bytes.subarray(0, 100_000 + client * 450_000)])
          void connection.write(length === undefined ? httpChunk(sent) : sent)
          await until('some of it is on its way', async () => connection.socket.bytesWritten > 0)
          if (client % 3 !== 0) await until('the socket is empty', async () => connection.socket.writableLength === 0)
          connection.reset()
        }),
      )
    }
    await until('staging is empty', async () => (await stagedIn(server.library)).length === 0)
    expect(await originalsIn(server.library)).toHaveLength(1)
    await until('no file is open', async () => (await openFiles(server.pid, server.library)).length === 0)
    // The space that they were promised is free for others.
    expect((await upload(server.url, bytes)).status).toBe(201)
    expect((await get(server.url, '/backup/log')).body).toMatchObject({ total: 2 })
  })

  it('clears what a crash has left in staging under its own names; the rest stays, and the log says so', async () => {
    await server.kill()
    const staging = join(server.library, '.iclood/incoming')
    for (const end of ['part', 'sums']) await writeFile(join(staging, `${randomUUID()}.${end}`), noise(1000, end))
    await writeFile(join(staging, 'half.part'), noise(1000, 'half'))
    await mkdir(join(staging, 'folder/in/it'), { recursive: true })
    server = await startServer(folder)
    await until('what is its own is gone', async () => {
      return (await stagedIn(server.library)).sort().join() === 'folder,half.part'
    })
    expect(await readFile(join(staging, 'half.part'))).toEqual(noise(1000, 'half'))
    expect(await readdir(join(staging, 'folder/in'))).toEqual(['it'])
    await until('the log says so', async () => server.output().includes(LEFT_ALONE))
    expect((await upload(server.url, photo())).status).toBe(201)
    expect(await originalsIn(server.library)).toHaveLength(2)
  })
})

/** What the process `pid` has open in `folder`. */
async function openFiles(pid: number, folder: string): Promise<string[]> {
  const links = await Promise.all(
    (await readdir(`/proc/${pid}/fd`)).map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')),
  )
  return links.filter((path) => path.startsWith(folder))
}

describe.each<FileSystem>(['tmpfs', 'ext4', 'xfs', 'btrfs', 'exfat'])('a drive with %s', (kind) => {
  it(
    'keeps photos whole and apart, whatever their names, over kill -9 and unmounting',
    needs(drive(kind)),
    async () => {
      const usb = await makeDrive(kind)
      const folder = await makeFolder()
      let server = await startServer(folder, { UPLOAD_FOLDER: usb.path })
      try {
        // Written by somebody else: a name in another case and another Unicode form.
        await mkdir(join(usb.path, '2024/07'), { recursive: true })
        await writeFile(join(usb.path, '2024/07/Cafe\u0301.jpg'), 'mine')

        const sent = new Map<string, Buffer>()
        const send = async (name: string, fields: Record<string, string>, bytes: Buffer) => {
          const answer = await upload(server.url, bytes, { name, fields: { device_id: 'iPhone', ...fields } })
          expect(answer).toMatchObject({ status: 201 })
          sent.set(answer.body.backup.file_path, bytes)
          return answer.body.backup.file_path
        }
        expect(await send('IMG_0001.JPG', {}, photo())).toBe('2024/07/IMG_0001.JPG')
        expect(await send('IMG_0001.JPG', {}, photo())).toBe('2024/07/IMG_0001 (2).JPG')
        expect(await send('img_0001.jpg', {}, photo())).toBe('2024/07/img_0001 (3).jpg')
        expect(await send('CAFÉ.JPG', {}, photo())).toBe('2024/07/CAFÉ (2).JPG')
        expect(await send('照片 1.JPG', {}, photo(3 * MB))).toBe('2024/07/照片 1.JPG')
        expect(await send('a:b*c?.jpg', {}, photo())).toBe('2024/07/a_b_c_.jpg')
        const half = (name: string) => ({ original_path: `file:///DCIM/100APPLE/${name}` })
        expect(await send('IMG_0001.HEIC', half('IMG_0001.HEIC'), photo())).toMatch(/^2024\/07\/IMG_0001.*\.HEIC$/)
        const still = [...sent.keys()].at(-1) ?? ''
        const film = mov({ creationDate: '2024-07-01T12:00:01+0200', size: 100_000, seed: kind })
        expect(await send('IMG_0001.MOV', half('IMG_0001.MOV'), film)).toBe(still.replace(/HEIC$/, 'MOV'))

        await server.kill()
        await writeFile(
          join(usb.path, '.iclood/incoming/0b9e7a52-6f3c-4d7e-9a51-2f4c8d1e3a70.part'),
          noise(100_000, 'half'),
        )
        await usb.unmount()
        await usb.mount()
        server = await startServer(folder, { UPLOAD_FOLDER: usb.path })
        for (const [path, bytes] of sent) {
          expect((await readFile(join(usb.path, path))).equals(bytes), path).toBe(true)
          const again = await upload(server.url, bytes, { name: 'other.jpg' })
          expect(again).toMatchObject({
            status: 200,
            body: { message: 'File already backed up', backup: { file_path: path } },
          })
        }
        expect(await originalsIn(usb.path)).toEqual(['2024/07/Cafe\u0301.jpg', ...sent.keys()].sort())
        expect(await readFile(join(usb.path, '2024/07/Cafe\u0301.jpg'), 'utf8')).toBe('mine')
        expect(await uploadsIn(usb.path)).toEqual([])

        await usb.unmount()
        await expectRefused(server, 503, 'drive_missing')
        expect(await readdir(usb.path)).toEqual([])
        await usb.mount()
        await expectResumed(server)
      } finally {
        await server.stop()
        await usb.remove()
        await removeFolder(folder)
      }
    },
  )
})
