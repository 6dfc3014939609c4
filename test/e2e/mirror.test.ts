import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { runCommand } from '../support/command.ts'
import { drive, makeDrive, originalsIn, stagedIn, type TestDrive, uploadsIn } from '../support/drives.ts'
import { answersOf, backUpHousehold, sendAsset } from '../support/household.ts'
import { jpeg, mov, noise } from '../support/media.ts'
import { isSame, sha256 } from '../support/mirrored.ts'
import { needs } from '../support/needs.ts'
import { get, post, upload } from '../support/phone.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { EMBEDDED } from '../support/surroundings.ts'
import { until } from '../support/until.ts'

const run = promisify(execFile)
const MB = 1024 * 1024
let seed = 0
const photo = (size = 50_000) => jpeg({ date: '2024:07:01 12:00:00', size, seed: `mirror ${seed++}` })

/** What the server says of the second copy. */
async function mirrorOf(server: TestServer) {
  return (await get(server.url, '/library/health')).body.mirror
}

function untilOpen(server: TestServer) {
  return until('the library is open', async () => (await get(server.url, '/storage/status')).status === 200)
}

function untilMirror(server: TestServer, state: string) {
  return until(`the mirror is ${state}`, async () => {
    const mirror = await mirrorOf(server)
    return mirror?.state === state && mirror
  })
}

/** Stores a photo and returns its path in the library. */
async function store(server: TestServer, bytes = photo(), name = `IMG_${seed}.JPG`): Promise<string> {
  const answer = await upload(server.url, bytes, { name, fields: { device_id: 'iPhone', original_path: `/${name}` } })
  expect(answer).toMatchObject({ status: 201 })
  return answer.body.backup.file_path
}

/** The originals of a library: without what describes them. */
async function photosIn(root: string): Promise<string[]> {
  return (await originalsIn(root)).filter((path) => !path.endsWith('SHA256SUMS'))
}

/** Has `sha256sum` check every month of a library. */
async function checkSums(root: string): Promise<void> {
  for (const folder of new Set((await photosIn(root)).map((path) => path.slice(0, path.lastIndexOf('/'))))) {
    await run('sha256sum', ['--check', '--strict', '--quiet', 'SHA256SUMS'], { cwd: join(root, folder) })
    const lines = (await readFile(join(root, folder, 'SHA256SUMS'), 'utf8')).trimEnd().split('\n')
    expect(lines).toHaveLength((await photosIn(root)).filter((path) => path.startsWith(`${folder}/`)).length)
  }
}

/** Says that the mirror has all that the library has, and describes itself as well. */
async function expectMirrored(library: string, mirror: string): Promise<void> {
  const photos = await photosIn(library)
  expect(await photosIn(mirror)).toEqual(photos)
  for (const path of photos) expect(await isSame(path, library, mirror), path).toBe(true)
  await checkSums(mirror)
  const [journal, copied] = [join(library, '.iclood/journal'), join(mirror, '.iclood/journal')]
  await until('the journal is copied', async () => {
    const names = await readdir(journal)
    if ((await readdir(copied).catch(() => [])).join() !== names.join()) return false
    const same = await Promise.all(names.map((name) => isSame(name, journal, copied).catch(() => false)))
    return !same.includes(false)
  })
}

describe('a second drive', needs(drive('ext4')), () => {
  let library: TestDrive
  let mirror: TestDrive
  let folder: string
  let server: TestServer
  const start = async () => {
    server = await startServer(folder, { UPLOAD_FOLDER: library.path, MIRROR_FOLDER: mirror.path })
    await untilOpen(server)
  }
  const verify = async (...args: string[]) => {
    const env = { UPLOAD_FOLDER: library.path, MIRROR_FOLDER: mirror.path }
    const { code, stdout, stderr } = await runCommand(folder, ['verify', '--json', ...args], env)
    return { code, stderr, ...JSON.parse(stdout || '{}') }
  }
  beforeAll(async () => {
    library = await makeDrive('ext4', 320 * MB)
    mirror = await makeDrive('ext4', 320 * MB)
    folder = await makeFolder()
    await start()
  })
  afterAll(async () => {
    await server.stop()
    await library.remove()
    await mirror.remove()
    await removeFolder(folder)
  })

  it('gets a copy of every photo, which counts when it has been read back', async () => {
    const first = photo()
    await store(server, first, 'FIRST.JPG')
    await store(server, photo(), '照片 1.JPG')
    await store(server, mov({ creationDate: '2023-01-01T12:00:00+0000', size: 5 * MB, seed: 'film' }), 'FILM.MOV')
    expect(await untilMirror(server, 'ok')).toEqual({
      state: 'ok',
      reason: null,
      lag_files: 0,
      lag_bytes: 0,
      lag_since: null,
      on_same_drive: false,
    })
    const files = [{ path: '/FIRST.JPG', sha256: sha256(first) }]
    const { body } = await post(server.url, '/photos/verdict', { device_id: 'iPhone', files })
    expect(body.files[0]).toMatchObject({ safe: true, copies: 2 })
    await expectMirrored(library.path, mirror.path)
  })

  it('is a library of its own, with the identity of a mirror', async () => {
    const own = JSON.parse(await readFile(join(library.path, '.iclood/library.json'), 'utf8'))
    const copy = JSON.parse(await readFile(join(mirror.path, '.iclood/library.json'), 'utf8'))
    expect(copy).toMatchObject({ format: 1, mirror_of: own.id, id: expect.not.stringMatching(own.id) })
    const { code, stdout } = await runCommand(folder, ['mirror', '--json'], {
      UPLOAD_FOLDER: library.path,
      MIRROR_FOLDER: mirror.path,
    })
    expect({ code, ...JSON.parse(stdout) }).toMatchObject({ code: 0, state: 'ok', files_behind: 0 })
  })

  it('is caught up after kill -9 in the middle of a long copy, and nothing half is visible', async () => {
    const film = mov({ creationDate: '2024-07-01T12:00:00+0200', size: 120 * MB, seed: 'long' })
    const path = await store(server, film, 'LONG.MOV')
    await until('it is being copied', async () => {
      const [part] = await uploadsIn(mirror.path)
      if (part === undefined) return false
      const file = await stat(join(mirror.path, '.iclood/incoming', part)).catch(() => undefined)
      return file !== undefined && file.size > 4 * MB
    })
    await server.kill()
    expect(await photosIn(mirror.path)).not.toContain(path)
    await start()
    await untilMirror(server, 'ok')
    // What is left then is on its way: the journal is copied likewise.
    await until('nothing half is left', async () => (await uploadsIn(mirror.path)).length === 0)
    await expectMirrored(library.path, mirror.path)
  })

  it('that is unmounted is missed and not written to; what came meanwhile is copied when it is back', async () => {
    await mirror.unmount()
    const path = await store(server)
    expect(await untilMirror(server, 'missing')).toMatchObject({
      reason: expect.stringContaining('Connect and mount it'),
      lag_files: 1,
      lag_bytes: 50_000,
      lag_since: expect.stringMatching(/Z$/),
    })
    await until('the log says so', async () => server.output().includes('The drive with the second copy is not there'))
    expect(await readdir(mirror.path)).toEqual([])
    await store(server)

    await mirror.mount()
    await untilMirror(server, 'ok')
    expect(await photosIn(mirror.path)).toContain(path)
    await expectMirrored(library.path, mirror.path)
  })

  it('that comes loose in the middle of a copy leaves nothing under its mount point', async () => {
    await store(server, photo(60 * MB), 'LARGE.JPG')
    await until('it is being copied', async () => (await uploadsIn(mirror.path)).length > 0)
    await mirror.detach()
    await untilMirror(server, 'missing')
    expect(await readdir(mirror.path)).toEqual([])
    await mirror.mount()
    await untilMirror(server, 'ok')
    await until('staging is cleared', async () => (await stagedIn(mirror.path)).length === 0)
    await expectMirrored(library.path, mirror.path)
  })

  it('is not mistaken for another one in its place, at the start of the server either', async () => {
    await mirror.unmount()
    const other = await makeDrive('tmpfs')
    await mkdir(join(other.path, '.iclood'))
    await writeFile(
      join(other.path, '.iclood/library.json'),
      '{"format":1,"id":"11111111-2222-4333-8444-555555555555"}',
    )
    await writeFile(join(other.path, 'theirs.txt'), 'a text')
    const before = (await readdir(other.path, { recursive: true })).sort()
    try {
      await run('mount', ['--bind', other.path, mirror.path])
      await store(server)
      await until('it is recognised', async () => (await mirrorOf(server)).reason?.includes('another library'))
      await server.stop()
      await start()
      await until('it is recognised', async () => (await mirrorOf(server)).reason?.includes('another library'))
      expect((await readdir(other.path, { recursive: true })).sort()).toEqual(before)
    } finally {
      await run('umount', [mirror.path])
      await other.remove()
    }
    expect(await readdir(mirror.path)).toEqual([])
    await mirror.mount()
    await untilMirror(server, 'ok')
    await expectMirrored(library.path, mirror.path)
  })

  it('heals what has rotted in the library, and the library what has rotted on it', async () => {
    const [rotten, gone, copyRotten, copyGone] = [
      await store(server),
      await store(server),
      await store(server),
      await store(server),
    ]
    await untilMirror(server, 'ok')
    const flip = async (root: string, path: string) => {
      const bytes = await readFile(join(root, path))
      bytes.writeUInt8(bytes.readUInt8(40_000) ^ 1, 40_000)
      await writeFile(join(root, path), bytes)
    }
    await flip(library.path, rotten)
    await rm(join(library.path, gone))
    await flip(mirror.path, copyRotten)
    await rm(join(mirror.path, copyGone))

    const found = await verify()
    expect(found.code, found.stderr).toBe(1)
    const seen = found.findings.map(({ copy, kind, path, healed_by: by }: Record<string, string>) => [
      copy,
      kind,
      path,
      by,
    ])
    expect(seen.sort()).toEqual(
      [
        ['library', 'corrupt', rotten, 'the second copy'],
        ['library', 'missing', gone, 'the second copy'],
        ['mirror', 'corrupt', copyRotten, 'a new copy from the library'],
        ['mirror', 'missing', copyGone, 'a new copy from the library'],
      ].sort(),
    )
    await expectMirrored(library.path, mirror.path)
    const again = await verify()
    expect(again).toMatchObject({ code: 0, findings: [] })
    expect(again.checked.files).toBe(2 * (await photosIn(library.path)).length)
    expect((await mirrorOf(server)).state).toBe('ok')
  })

  it('that is not there does not keep the library from being verified', async () => {
    await mirror.unmount()
    const result = await verify()
    expect(result).toMatchObject({ code: 0, findings: [] })
    expect(result.stderr).toContain('The second copy is not read back')
    await mirror.mount()
    await untilMirror(server, 'ok')
  })

  it('is replaced by a new one when a person says so, while the server runs', async () => {
    await mirror.unmount()
    const other = await makeDrive('tmpfs', 320 * MB)
    const env = { UPLOAD_FOLDER: library.path, MIRROR_FOLDER: mirror.path }
    try {
      await run('mount', ['--bind', other.path, mirror.path])
      await untilMirror(server, 'missing')
      expect(await runCommand(folder, ['mirror'], env)).toMatchObject({ code: 1 })
      expect(await readdir(other.path)).toEqual([])
      expect(await runCommand(folder, ['mirror', '--replace'], env)).toMatchObject({ code: 0 })
      await untilMirror(server, 'ok')
      await expectMirrored(library.path, other.path)
    } finally {
      await run('umount', ['-l', mirror.path])
      await other.remove()
    }
    await mirror.mount()
    await until('it is recognised', async () => (await mirrorOf(server)).reason?.includes('not the one'))
    expect(await runCommand(folder, ['mirror', '--replace'], env)).toMatchObject({ code: 0 })
    await untilMirror(server, 'ok')
  })

  it('has everything after a clean stop', async () => {
    await store(server)
    await untilMirror(server, 'ok')
    expect(await server.stop()).toBe(0)
    await expectMirrored(library.path, mirror.path)
    await mirror.unmount()
    await mirror.mount()
    await start()
    await untilMirror(server, 'ok')
  })
})

describe('a second drive that is full', needs(drive('tmpfs')), () => {
  let mirror: TestDrive
  let folder: string
  let server: TestServer
  beforeAll(async () => {
    mirror = await makeDrive('tmpfs', 24 * MB)
    folder = await makeFolder()
    server = await startServer(folder, { MIRROR_FOLDER: mirror.path, MIN_FREE_SPACE: '4' })
    await untilOpen(server)
  })
  afterAll(async () => {
    await server.stop()
    await mirror.remove()
    await removeFolder(folder)
  })

  it('says so, keeps MIN_FREE_SPACE, takes what still fits, and the rest when there is room', async () => {
    const ballast = join(mirror.path, 'somebody’s own film')
    await untilMirror(server, 'ok')
    await writeFile(ballast, noise(10 * MB, 'ballast'))
    await store(server, photo(14 * MB), 'LARGE.JPG')
    expect(await untilMirror(server, 'full')).toMatchObject({
      reason: expect.stringMatching(/bytes are needed/),
      lag_files: 1,
      lag_bytes: 14 * MB,
    })
    const small = await store(server, photo(), 'SMALL.JPG')
    await until('the small one is copied', async () => (await photosIn(mirror.path)).includes(small))
    expect((await mirrorOf(server)).state).toBe('full')
    expect(await uploadsIn(mirror.path)).toEqual([])
    expect((await get(server.url, '/library/health')).body.problems).toEqual([
      expect.objectContaining({ key: 'mirror_full' }),
    ])

    await rm(ballast)
    await untilMirror(server, 'ok')
    await expectMirrored(server.library, mirror.path)
  })
})

describe('moving to the second copy', () => {
  let folder: string
  let server: TestServer | undefined
  afterEach(async () => {
    await server?.stop()
    server = undefined
    await removeFolder(folder)
  })

  it('gives everything back when the library’s drive and the database are lost', async () => {
    folder = await makeFolder()
    const mirror = join(folder, 'mirror')
    server = await startServer(folder, { ...EMBEDDED, MIRROR_FOLDER: mirror })
    await untilOpen(server)
    const household = await backUpHousehold(server)
    const answers = await answersOf(server, household)
    await untilMirror(server, 'ok')
    await server.stop()
    await rm(join(folder, 'data'), { recursive: true })

    server = await startServer(folder, { ...EMBEDDED, UPLOAD_FOLDER: mirror })
    const moved = server
    await untilOpen(moved)
    await until('all photos are known', async () => {
      const { body } = await get(moved.url, '/library/health')
      return body.files.unread.files === 0
    })
    expect(await answersOf(server, household)).toEqual(answers)
    for (const asset of household.assets) {
      expect(await sendAsset(server, asset)).toMatchObject({ status: 200, body: { message: 'File already backed up' } })
    }
    expect((await get(server.url, '/library/health')).body).toMatchObject({ healthy: true, mirror: null })
  })
})
