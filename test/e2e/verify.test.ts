import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readlinkSync } from 'node:fs'
import { appendFile, mkdir, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { basename, join, relative } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCommand, startCommand } from '../support/command.ts'
import { originalsIn, stagedIn } from '../support/drives.ts'
import { jpeg } from '../support/media.ts'
import { needs } from '../support/needs.ts'
import { get, post, upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { withWrongSum, writeUnseen } from '../support/unseen.ts'
import { until } from '../support/until.ts'
import { makePhone } from '../support/wire.ts'

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** A photo on a phone, once it is backed up. */
interface Photo {
  name: string
  /** Where it was stored. */
  path: string
  bytes: Buffer
}

let server: TestServer

beforeAll(async () => {
  server = await startServer(await makeFolder())
})

afterAll(async () => {
  await server.stop()
  await removeFolder(server.folder)
})

/** A month that nothing else in this file uses, so that a test knows all that lies there. */
let months = 0
function freshMonth(): string {
  months += 1
  return `${2000 + Math.floor(months / 12)}/${String((months % 12) + 1).padStart(2, '0')}`
}

const phonePath = (name: string) => `file:///var/mobile/Media/DCIM/100APPLE/${name}`
const idOf = (name: string) => `${name}/L0/001`
const place = (path: string) => join(server.library, path)
const read = (path: string) => readFile(place(path))

function photoOf(month: string, name: string, seed = name, size = 3000) {
  return jpeg({ date: `${month.replace('/', ':')}:15 12:00:00`, seed: `${month} ${seed}`, size })
}

async function backUp(month: string, names: readonly string[], device = 'iPhone'): Promise<Photo[]> {
  return Promise.all(names.map((name, index) => send(photoOf(month, name, name, 3000 + index), name, device)))
}

async function send(bytes: Buffer, name: string, device = 'iPhone', expected = 201): Promise<Photo> {
  const fields = { device_id: device, original_path: phonePath(name), asset_id: idOf(name) }
  const { status, body } = await upload(server.url, bytes, { name, fields })
  expect(status, JSON.stringify(body)).toBe(expected)
  return { name, path: body.backup.file_path, bytes }
}

/** The names of those photos that the phone is asked for. */
async function asked(photos: readonly Photo[], device = 'iPhone'): Promise<string[]> {
  const files = photos.map(({ name }) => ({ path: phonePath(name), id: idOf(name), name }))
  const { new_files } = await makePhone(server, device).offer(...files)
  return new_files.map((file: { name: string }) => file.name).sort()
}

interface Found {
  copy: string
  kind: string
  path: string
  expected: string | null
  found: string | null
  quarantined: string | null
  healed_by: string | null
}

interface Verified {
  code: number | null
  status: string
  checked: { files: number; bytes: number; seconds: number; bytes_per_second: number }
  findings: Found[]
}

async function verify(...args: string[]): Promise<Verified> {
  const { code, stdout, stderr } = await runCommand(server.folder, ['verify', '--json', ...args])
  expect(stderr).toBe('')
  return { code, ...JSON.parse(stdout) }
}

const kinds = (findings: readonly Found[]) => findings.map(({ kind, path }) => `${kind} ${path}`).sort()

async function flipBit(path: string, at: number): Promise<void> {
  const bytes = await read(path)
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
  await writeFile(place(path), bytes)
}

const log = async (query = '') => (await get(server.url, `/backup/log?limit=10000${query}`)).body.backups

it('a library as it was stored is clean: exit code 0, a summary, and every photo has been read back', async () => {
  const month = freshMonth()
  const photos = await backUp(month, ['A.JPG', 'B.JPG', 'C.JPG'])
  const result = await verify('--path', month)
  const bytes = photos.reduce((sum, photo) => sum + photo.bytes.length, 0)
  expect(result).toMatchObject({ code: 0, status: 'clean', checked: { files: 3, bytes }, findings: [] })
  const printed = await runCommand(server.folder, ['verify', '--path', `${month}/`])
  expect(printed).toEqual({ code: 0, stderr: '', stdout: expect.stringMatching(/^Read 3 files back .*\.\n$/) })
})

it('every kind of bit rot is found and nothing else; the phone is asked for just that, and its bytes take the old places', async () => {
  const month = freshMonth()
  const photos = await backUp(
    month,
    Array.from({ length: 80 }, (_, index) => `IMG_${String(index).padStart(4, '0')}.JPG`),
  )
  const paths = photos.map(({ path }) => path)
  const [flipped, truncated, emptied, appended, deleted, swapped, folders] = [
    paths.slice(0, 12),
    paths.slice(12, 16),
    paths.slice(16, 18),
    paths.slice(18, 22),
    paths.slice(22, 28),
    paths.slice(28, 32),
    paths.slice(32, 34),
  ] as const
  for (const [index, path] of flipped.entries()) await flipBit(path, index * 211)
  for (const path of truncated) await truncate(place(path), 2000)
  for (const path of emptied) await truncate(place(path), 0)
  for (const path of appended) await appendFile(place(path), 'x')
  for (const path of deleted) await rm(place(path))
  for (let index = 0; index < swapped.length; index += 2) {
    const [one, other] = [swapped[index] ?? '', swapped[index + 1] ?? '']
    await rename(place(one), place(`${one}.tmp`))
    await rename(place(other), place(one))
    await rename(place(`${one}.tmp`), place(other))
  }
  for (const path of folders) {
    await rm(place(path))
    await mkdir(place(path))
  }
  const corrupt = [...flipped, ...truncated, ...emptied, ...appended]
  const rotten = new Map(await Promise.all(corrupt.map(async (path) => [path, await read(path)] as const)))

  const result = await verify('--path', month)
  expect(result).toMatchObject({ code: 1, status: 'findings' })
  expect(kinds(result.findings)).toEqual(
    [
      ...corrupt.map((path) => `corrupt ${path}`),
      ...swapped.map((path) => `corrupt ${path}`),
      ...deleted.map((path) => `missing ${path}`),
      ...folders.map((path) => `unreadable ${path}`),
    ].sort(),
  )
  const original = new Map(photos.map((photo) => [photo.path, photo.bytes]))
  for (const { kind, path, expected, found, quarantined, healed_by: healedBy } of result.findings) {
    expect(expected, path).toBe(sha256(original.get(path) ?? Buffer.alloc(0)))
    expect(healedBy === null, path).toBe(!swapped.includes(path))
    if (kind !== 'corrupt') continue
    // What lay there is kept, byte for byte.
    const kept = await read(quarantined ?? '')
    expect(found, path).toBe(sha256(kept))
    if (rotten.has(path)) expect(kept.equals(rotten.get(path) ?? Buffer.alloc(0)), path).toBe(true)
    expect(quarantined?.startsWith(`.iclood/quarantine/${path}.`), path).toBe(true)
  }
  // Two that were swapped heal each other.
  for (const path of swapped) expect((await read(path)).equals(original.get(path) ?? Buffer.alloc(0)), path).toBe(true)

  const lost = [...corrupt, ...deleted, ...folders]
  expect(await asked(photos)).toEqual(lost.map((path) => basename(path)).sort())
  const failed = (await log('&status=Failed')).filter((row: { file_path: string }) => paths.includes(row.file_path))
  expect(failed.map((row: { file_path: string }) => row.file_path).sort()).toEqual([...lost].sort())
  for (const { failure } of failed) expect(failure).toMatch(/drive/)

  for (const photo of photos.filter(({ path }) => lost.includes(path))) {
    expect(await send(photo.bytes, photo.name)).toMatchObject({ path: photo.path })
  }
  for (const { path, bytes } of photos) expect((await read(path)).equals(bytes), path).toBe(true)
  expect(await asked(photos)).toEqual([])
  expect((await log('&status=Failed')).filter((row: { file_path: string }) => paths.includes(row.file_path))).toEqual(
    [],
  )
  expect(await verify('--path', month)).toMatchObject({ code: 0, checked: { files: photos.length } })
})

it('what is still missing is a finding each time, with advice, and a file that a person puts back is taken back', async () => {
  const month = freshMonth()
  const [photo] = (await backUp(month, ['AWAY.JPG'])) as [Photo]
  await rename(place(photo.path), place('away.jpg'))
  for (let times = 0; times < 2; times++) {
    const { code, stdout } = await runCommand(server.folder, ['verify', '--path', month])
    expect(code).toBe(1)
    expect(stdout).toMatch(new RegExp(`^missing +${photo.path}: .*phones are asked for it again`, 'm'))
  }
  expect(await asked([photo])).toEqual([photo.name])
  await rename(place('away.jpg'), place(photo.path))
  expect(await verify('--path', photo.path)).toMatchObject({ code: 0, checked: { files: 1 } })
  expect(await asked([photo])).toEqual([])
})

it('a file that was moved within the library is put back from where it lies now, which stays as it is', async () => {
  const month = freshMonth()
  const other = freshMonth()
  const [photo] = (await backUp(month, ['MOVED.JPG'])) as [Photo]
  const [neighbour] = (await backUp(other, ['NEIGHBOUR.JPG'])) as [Photo]
  await rename(place(photo.path), place(`${other}/elsewhere.jpg`))
  const result = await verify()
  expect(result).toMatchObject({ code: 1 })
  expect(kinds(result.findings)).toEqual([`missing ${photo.path}`, `unknown ${other}/elsewhere.jpg`].sort())
  expect(result.findings.find(({ kind }) => kind === 'missing')?.healed_by).toContain(`${other}/elsewhere.jpg`)
  expect((await read(photo.path)).equals(photo.bytes)).toBe(true)
  expect((await read(`${other}/elsewhere.jpg`)).equals(photo.bytes)).toBe(true)
  expect(await asked([photo, neighbour])).toEqual([])
  await rm(place(`${other}/elsewhere.jpg`))
  expect((await verify()).code).toBe(0)
})

it('files that the catalogue does not know are named, and left alone; what computers leave behind is not', async () => {
  const month = freshMonth()
  await backUp(month, ['KNOWN.JPG'])
  for (const name of ['.DS_Store', 'Thumbs.db', 'desktop.ini', '.hidden.jpg'])
    await writeFile(place(`${month}/${name}`), name)
  await mkdir(place(`${month}/a folder`))
  expect((await verify('--path', month)).code).toBe(0)
  await writeFile(place(`${month}/stranger.jpg`), 'who am I?')
  await mkdir(place(freshMonth()), { recursive: true })
  const result = await verify('--path', month)
  expect(result).toMatchObject({ code: 1 })
  expect(kinds(result.findings)).toEqual([`unknown ${month}/stranger.jpg`])
  expect((await read(`${month}/stranger.jpg`)).toString()).toBe('who am I?')
  await rm(place(`${month}/stranger.jpg`))
  expect((await verify('--path', month)).code).toBe(0)
})

it('a SHA256SUMS that disagrees with the catalogue is found, and put right by the server', async () => {
  const month = freshMonth()
  const [photo] = (await backUp(month, ['SUM.JPG', 'OTHER.JPG'])) as [Photo]
  const sums = place(`${month}/SHA256SUMS`)
  await until(
    'the photos are listed',
    async () => (await readFile(sums, 'utf8').catch(() => '')).split('\n').length === 3,
  )
  const right = await readFile(sums, 'utf8')
  const wrong = sha256(Buffer.from('wrong'))
  // As rot does: its size and time are as the server last saw them.
  await writeUnseen(sums, right.replace(sha256(photo.bytes), wrong))
  const result = await verify('--path', month)
  expect(result.findings).toMatchObject([
    {
      kind: 'sums',
      path: `${month}/SHA256SUMS`,
      expected: `${sha256(photo.bytes)}  SUM.JPG`,
      found: `${wrong}  SUM.JPG`,
      healed_by: expect.stringContaining('server'),
    },
  ])
  expect(result.code).toBe(1)
  expect(await readFile(sums, 'utf8')).toBe(right)
  expect((await verify('--path', month)).code).toBe(0)
})

it('content that another phone has sent as well is asked for from both, and one of them heals both', async () => {
  const month = freshMonth()
  const bytes = photoOf(month, 'TWICE.JPG')
  const photo = await send(bytes, 'TWICE.JPG')
  await send(bytes, 'TWICE.JPG', 'iPad', 200)
  await flipBit(photo.path, 1000)
  expect((await verify('--path', month)).code).toBe(1)
  expect(await asked([photo])).toEqual([photo.name])
  expect(await asked([photo], 'iPad')).toEqual([photo.name])
  // By its checksum alone it is not taken for backed up while it is lost.
  const known = { device_id: 'iPod', files: [{ path: 'x', sha256: sha256(bytes) }] }
  expect((await post(server.url, '/photos/new', known)).body).toMatchObject({ count: 1, backed_up_count: 0 })
  expect(await send(bytes, 'TWICE.JPG', 'iPad')).toMatchObject({ path: photo.path })
  expect(await asked([photo])).toEqual([])
  expect(await asked([photo], 'iPad')).toEqual([])
  expect((await verify('--path', month)).code).toBe(0)
})

it('a lost photo that the phone has edited since is succeeded by what the phone sends, and is no finding for ever', async () => {
  const month = freshMonth()
  const [photo] = (await backUp(month, ['EDITED.JPG'])) as [Photo]
  await rm(place(photo.path))
  expect((await verify('--path', month)).code).toBe(1)
  const edited = photoOf(month, 'EDITED.JPG', 'cropped')
  const stored = await send(edited, 'EDITED.JPG')
  expect((await read(stored.path)).equals(edited)).toBe(true)
  expect(await asked([photo])).toEqual([])
  expect((await verify('--path', month)).code).toBe(0)
})

it('a photo in whose place something else lies is neither taken for it nor lost, whoever comes first', async () => {
  const month = freshMonth()
  const [photo, other] = (await backUp(month, ['ONE.JPG', 'TWO.JPG'])) as [Photo, Photo]
  // Nobody has verified: the upload itself finds that the copies are not what they should be.
  await writeFile(place(photo.path), 'short')
  await rm(place(other.path))
  await mkdir(join(place(other.path), 'deep'), { recursive: true })
  for (const { bytes, name, path } of [photo, other]) expect(await send(bytes, name)).toMatchObject({ path })
  expect((await read(photo.path)).equals(photo.bytes)).toBe(true)
  expect((await read(other.path)).equals(other.bytes)).toBe(true)
  const quarantined = await readdir(place(`.iclood/quarantine/${month}`))
  expect(quarantined.map((name) => name.slice(0, 7)).sort()).toEqual(['ONE.JPG', 'TWO.JPG'])
  expect((await verify('--path', month)).code).toBe(0)
})

it('while phones upload, verify finds nothing that is not so', async () => {
  const month = freshMonth()
  let isOver = false
  let sent = 0
  const phones = Array.from({ length: 6 }, async (_, phone) => {
    for (let index = 0; !isOver; index++) {
      const name = `LOAD_${phone}_${index}.JPG`
      await send(photoOf(month, name, name, 20_000), name)
      sent++
    }
  })
  const results = []
  for (let times = 0; times < 3; times++) results.push(await verify('--path', month))
  isOver = true
  await Promise.all(phones)
  expect(results.map(({ code, findings }) => ({ code, findings }))).toEqual(Array(3).fill({ code: 0, findings: [] }))
  expect(sent).toBeGreaterThan(20)
  expect((await verify('--path', month)).checked.files).toBe(sent)
})

describe('which photos', () => {
  it('all parts of --subset are the whole library, each photo in one of them', async () => {
    const month = freshMonth()
    const photos = await backUp(month, ['S1.JPG', 'S2.JPG', 'S3.JPG', 'S4.JPG', 'S5.JPG'])
    for (const { path } of photos) await rm(place(path))
    const all = (await verify()).checked.files
    const parts = [await verify('--subset', '1/3'), await verify('--subset', '2/3'), await verify('--subset', '3/3')]
    expect(parts.reduce((sum, part) => sum + part.checked.files, 0)).toBe(all)
    expect(parts.flatMap((part) => kinds(part.findings)).sort()).toEqual(
      photos.map(({ path }) => `missing ${path}`).sort(),
    )
    for (const { bytes, name } of photos) await send(bytes, name)
  })

  it('--since takes what was stored within that time', async () => {
    const [newest] = (await get(server.url, '/backup/log?status=Completed&limit=1')).body.backups
    await until('the others are a second old', async () => Date.now() > Date.parse(newest.timestamp) + 1_000)
    const [photo] = (await backUp(freshMonth(), ['SINCE.JPG'])) as [Photo]
    expect((await verify('--since', '1s')).checked.files).toBeLessThan((await verify('--since', '1d')).checked.files)
    expect((await verify('--since', '1d', '--json')).code).toBe(0)
    expect(await asked([photo])).toEqual([])
  })

  it('what makes no sense is refused with exit code 2 and a message', async () => {
    const refusals = [
      [['--since', 'yesterday'], /30d/],
      [['--subset', '4/3'], /1\/10/],
      [['--subset', '0/3'], /1\/10/],
      [['--path', '1999/12'], /nothing under 1999\/12/],
      [['--path', '../etc'], /nothing under/],
      [['--path', '.iclood'], /nothing under/],
      [['--since', '1d', '--path', '2024/07'], /cannot be used with/],
      [['--all'], /unknown option/],
      [['2024/07'], /too many arguments/],
    ] as const
    const expectRefusal = async ([args, message]: (typeof refusals)[number]) => {
      const { code, stdout, stderr } = await runCommand(server.folder, ['verify', ...args])
      expect({ args, code, stdout }).toEqual({ args, code: 2, stdout: '' })
      expect(stderr).toMatch(message)
    }
    await Promise.all(refusals.map(expectRefusal))
  })
})

describe('without a server', () => {
  const LARGE = ['U.JPG', 'V.JPG', 'W.JPG', 'X.JPG', 'Y.JPG', 'Z.JPG']
  let alone: TestServer
  let database: TestDatabase
  let env: Record<string, string>
  beforeAll(async () => {
    database = await startTestDatabase()
    env = { DATABASE_URL: database.url }
    alone = await startServer(await makeFolder(), env)
    for (const name of ['A.JPG', 'B.JPG', ...LARGE]) {
      await upload(alone.url, photoOf('2024/07', name), { name, fields: { original_path: phonePath(name) } })
    }
    await alone.stop()
  })
  afterAll(() => removeFolder(alone.folder))

  const query = async (text: string) => {
    const client = new pg.Client(database.connection)
    await client.connect()
    const { rows } = await client.query(text)
    await client.end()
    return rows
  }
  const verifiedPaths = async () =>
    (await query('select path from originals where verified_at is not null order by path')).map((row) => row.path)

  it('a drive that is not there makes nothing missing: exit code 2', async () => {
    await rename(alone.library, `${alone.library}.unplugged`)
    await mkdir(alone.library)
    const { code, stdout, stderr } = await runCommand(alone.folder, ['verify', '--json'], env)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/drive .* is not there/)
    await rm(alone.library, { recursive: true })
    await rename(`${alone.library}.unplugged`, alone.library)
    expect(await verifiedPaths()).toEqual([])
  })

  it('interrupted, it ends with exit code 2 and keeps what it has proven', needs(proc()), async () => {
    // Too large to be read to their ends, and nobody knows how large they should be. Six at a time are read: the last
    // of these are when the two before them have been.
    const large = LARGE.map((name) => join(alone.library, '2024/07', name))
    const bytes = await Promise.all(large.map((path) => readFile(path)))
    for (const path of large) await truncate(path, 50_000_000_000)
    const paths = large.map((path) => `'${relative(alone.library, path)}'`).join()
    const sizes = await query(`select path, size from files where path in (${paths})`)
    await query(`update files set size = null where path in (${paths})`)
    const command = startCommand(alone.folder, ['verify', '--json'], env)
    await until('it reads all large files', async () => {
      const open = openOf(command.process.pid)
      return large.every((path) => open.includes(path))
    })
    command.process.kill('SIGINT')
    const { code, stderr, stdout } = await command.result
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/Interrupted/)
    expect(await verifiedPaths()).toEqual(['2024/07/A.JPG', '2024/07/B.JPG'])
    for (const [index, path] of large.entries()) await writeFile(path, bytes[index] ?? '')
    for (const { path, size } of sizes) await query(`update files set size = ${size} where path = '${path}'`)
  })

  it('it works all the same, and the next server asks for what was found', async () => {
    await rm(join(alone.library, '2024/07/B.JPG'))
    const { code, stdout } = await runCommand(alone.folder, ['verify', '--json', '--path', '2024/07/B.JPG'], env)
    expect(code).toBe(1)
    expect(JSON.parse(stdout).findings).toMatchObject([{ kind: 'missing', path: '2024/07/B.JPG' }])
    const next = await startServer(alone.folder, env)
    const files = [{ path: phonePath('B.JPG') }, { path: phonePath('A.JPG') }]
    const { body } = await post(next.url, '/photos/new', { files })
    expect(body.new_files).toEqual([{ path: phonePath('B.JPG') }])
    await next.kill()
  })

  it('lines of SHA256SUMS that a killed server could not write are no finding before the next one has', async () => {
    await query(`update files set stored_at = now() - interval '2 minutes'`)
    await query('update copies set wanted_since = null, lost_at = null')
    await query(`update backups set status = 'Completed'`)
    await query('delete from findings')
    await writeFile(join(alone.library, '2024/07/B.JPG'), photoOf('2024/07', 'B.JPG'))
    const sums = join(alone.library, '2024/07/SHA256SUMS')
    const whole = await readFile(sums, 'utf8')
    await writeFile(sums, whole.slice(0, whole.indexOf('\n') + 1))
    expect(await runCommand(alone.folder, ['verify'], env)).toMatchObject({ code: 0 })
    const next = await startServer(alone.folder, env)
    await until('the lines are there', async () => (await readFile(sums, 'utf8')) === whole)
    await next.stop()
    expect(await runCommand(alone.folder, ['verify'], env)).toMatchObject({ code: 0 })
    // After a clean stop nothing is about to be written.
    await writeFile(sums, whole.slice(0, whole.indexOf('\n') + 1))
    expect(await runCommand(alone.folder, ['verify'], env)).toMatchObject({ code: 1 })
    await writeFile(sums, whole)
  })

  it('a SHA256SUMS that it finds wrong is put right by the next server, though its size and time are as they were', async () => {
    const sums = join(alone.library, '2024/07/SHA256SUMS')
    const right = await readFile(sums, 'utf8')
    await writeUnseen(sums, withWrongSum(right))
    expect(await runCommand(alone.folder, ['verify'], env)).toMatchObject({ code: 1 })
    const next = await startServer(alone.folder, env)
    await until('it is right', async () => (await readFile(sums, 'utf8')) === right)
    await next.stop()
    expect(await query('select what, key from outbox')).toEqual([])
    expect(await runCommand(alone.folder, ['verify'], env)).toMatchObject({ code: 0 })
  })
})

/** Needs to see what a process has open. */
function proc(): string | undefined {
  return existsSync('/proc/self/fd') ? undefined : '/proc'
}

/** The files that a process has open. */
function openOf(pid: number | undefined): string[] {
  const folder = `/proc/${pid}/fd`
  return readdirSync(folder).flatMap((file) => {
    try {
      return readlinkSync(join(folder, file))
    } catch {
      // Closed in the meantime.
      return []
    }
  })
}

it('the library of all these tests has each photo once, and nothing is left in staging', async () => {
  const rows = await log('&status=Completed')
  const paths = new Set(rows.map((row: { file_path: string }) => row.file_path))
  const files = (await originalsIn(server.library)).filter((path) => /^\d{4}\/\d{2}\/[^/.]+\.JPG$/.test(path))
  expect([...paths].sort()).toEqual(files.sort())
  await until('staging is empty', async () => (await stagedIn(server.library)).length === 0)
})
