import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterEach, beforeAll, expect, it } from 'vitest'
import { listOpenFindings } from '../../src/catalogue/findings.ts'
import { declareLost } from '../../src/catalogue/losses.ts'
import type { LibraryPath } from '../../src/format/layout.ts'
import type { Checksum } from '../../src/media/checksum.ts'
import { io } from '../../src/storage/io.ts'
import type { Outcome } from '../../src/verify/verify-original.ts'
import { verifyOriginal } from '../../src/verify/verify-original.ts'
import { type Faults, injectFaults, systemError } from '../support/faults.ts'
import { type InProcessServer, startInProcess } from '../support/in-process.ts'
import { jpeg } from '../support/media.ts'
import { post, upload } from '../support/phone.ts'
import { startTestDatabase } from '../support/postgres.ts'
import { makeFolder } from '../support/server.ts'

const originals = { open: io.open, read: io.read }
let server: InProcessServer
let faults: Faults | undefined

beforeAll(async () => {
  server = await startInProcess(await makeFolder(), await startTestDatabase())
})
afterEach(() => {
  faults?.restore()
  faults = undefined
})

interface Photo {
  path: LibraryPath
  name: string
  bytes: Buffer
}

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex') as Checksum
const place = (path: string) => join(server.root, path)

let count = 0
async function backUp(): Promise<Photo> {
  count += 1
  const name = `IMG_${count}.JPG`
  const bytes = jpeg({ date: '2024:07:01 12:00:00', seed: name, size: 3000 })
  const path = await send(name, bytes)
  return { path, name, bytes }
}

async function send(name: string, bytes: Buffer): Promise<LibraryPath> {
  const answer = await upload(server.url, bytes, { name, fields: { original_path: name, asset_id: name } })
  expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300)
  return answer.body.backup.file_path
}

/** Whether the phone is asked for it. */
async function isAsked({ name }: Photo): Promise<boolean> {
  return (await post(server.url, '/photos/new', { files: [{ path: name, id: name }] })).body.count === 1
}

async function verify({ path }: Photo): Promise<Outcome> {
  const outcome = await verifyOriginal(server.library, path)
  if (outcome === undefined) throw new Error(`${path} is not in the catalogue`)
  return outcome
}

async function rowOf({ path }: Photo) {
  return server.db.selectFrom('originals').selectAll().where('path', '=', path).executeTakeFirstOrThrow()
}

const open = async ({ path }: Photo) => (await listOpenFindings(server.db, 1000)).filter((one) => one.path === path)

/** Every read of files under these paths fails, as on a bad sector. */
function failReads(...paths: string[]): void {
  const injected = injectFaults()
  faults = injected
  const really = { open: originals.open, read: originals.read }
  const failing = new Set<number>()
  injected.behave('open', async (...args) => {
    const [entry, flags] = args as Parameters<typeof originals.open>
    const file = await really.open(entry, flags)
    if (paths.some((one) => entry.path === one)) failing.add(file)
    else failing.delete(file)
    return file
  })
  injected.behave('read', async (...args) => {
    const parameters = args as Parameters<typeof really.read>
    if (failing.has(parameters[0])) throw systemError('EIO', 'read', [])
    return really.read(...parameters)
  })
}

it('an intact original is proven, at the time when its reading began', async () => {
  const photo = await backUp()
  const before = new Date()
  const outcome = await verify(photo)
  expect(outcome).toMatchObject({ state: 'intact', checksum: sha256(photo.bytes), size: 3000, isRestored: false })
  const { verified_at: at } = await rowOf(photo)
  expect(at?.getTime()).toBeGreaterThanOrEqual(before.getTime())
  expect(at?.getTime()).toBeLessThanOrEqual(Date.now())
})

it('an original that the drive can’t read is asked for again, stays where it is, and comes back when it can be read', async () => {
  const photo = await backUp()
  failReads(photo.path)
  expect(await verify(photo)).toMatchObject({ state: 'unreadable', isCleared: false })
  expect(await open(photo)).toMatchObject([{ kind: 'unreadable', expected: sha256(photo.bytes), quarantined: null }])
  expect(await isAsked(photo)).toBe(true)
  expect((await readFile(place(photo.path))).equals(photo.bytes)).toBe(true)
  faults?.restore()
  expect(await verify(photo)).toMatchObject({ state: 'intact', isRestored: true })
  expect(await open(photo)).toEqual([])
  expect(await isAsked(photo)).toBe(false)
})

it('new bytes take the place of an original that the drive can’t read, which is kept', async () => {
  const photo = await backUp()
  failReads(photo.path)
  expect((await verify(photo)).state).toBe('unreadable')
  expect(await send(photo.name, photo.bytes)).toBe(photo.path)
  faults?.restore()
  expect((await readFile(place(photo.path))).equals(photo.bytes)).toBe(true)
  const kept = (await readdir(place('.iclood/quarantine/2024/07'))).filter((name) => name.startsWith(`${photo.name}.`))
  expect(kept).toHaveLength(1)
  expect((await verify(photo)).state).toBe('intact')
})

it('a drive that answers nothing makes no original unreadable', async () => {
  const photo = await backUp()
  failReads(photo.path, '.iclood/library.json')
  await expect(verify(photo)).rejects.toMatchObject({ code: 'drive_error' })
  expect(await open(photo)).toEqual([])
  expect(await isAsked(photo)).toBe(false)
})

it('errors of this computer make no original unreadable', async () => {
  const photo = await backUp()
  const injected = injectFaults()
  faults = injected
  injected.behave('open', async () => {
    throw Object.assign(new Error('EMFILE: too many open files, open'), { code: 'EMFILE', syscall: 'open' })
  })
  await expect(verify(photo)).rejects.toMatchObject({ code: 'drive_error' })
  expect(await open(photo)).toEqual([])
})

it('a drive that goes away makes no original missing', async () => {
  const photo = await backUp()
  await rename(server.root, `${server.root}.away`)
  await mkdir(server.root)
  await expect(verify(photo)).rejects.toMatchObject({ code: 'drive_missing' })
  await rm(server.root, { recursive: true })
  await rename(`${server.root}.away`, server.root)
  expect((await verify(photo)).state).toBe('intact')
})

it('one bad reading of a good file is no proof of rot', async () => {
  const photo = await backUp()
  const injected = injectFaults()
  faults = injected
  let reads = 0
  injected.behave('read', async (...args) => {
    const parameters = args as Parameters<typeof originals.read>
    const result = await originals.read(...parameters)
    const [, buffer, offset] = parameters
    if (++reads === 1) (buffer as Buffer).writeUInt8(0xaa, offset + 2000)
    return result
  })
  expect((await verify(photo)).state).toBe('intact')
})

it('a file that is put back after it was looked at is not declared lost', async () => {
  const photo = await backUp()
  const loss = { path: photo.path, kind: 'missing', expected: sha256(photo.bytes), found: null } as const
  const declared = await declareLost(server.db, loss, 'gone', new Date(), async () => false)
  expect(declared).toBeUndefined()
  expect(await isAsked(photo)).toBe(false)
})

it('killed between declaring an original lost and moving it away, the next verification goes on', async () => {
  const photo = await backUp()
  await writeFile(place(photo.path), 'rotten')
  const found = sha256(Buffer.from('rotten'))
  const loss = { path: photo.path, kind: 'corrupt', expected: sha256(photo.bytes), found } as const
  await declareLost(server.db, loss, 'damaged', new Date())
  expect(await verify(photo)).toMatchObject({ state: 'corrupt', isCleared: true })
  const [finding] = await open(photo)
  expect(await readFile(place(finding?.quarantined ?? ''), 'utf8')).toBe('rotten')
  // What is out of the way is still what was found.
  expect((await verify(photo)).state).toBe('missing')
  expect(await open(photo)).toMatchObject([{ kind: 'corrupt', found }])
})

it('killed between putting an original back and saying so, the next verification says so', async () => {
  const photo = await backUp()
  await rm(place(photo.path))
  expect((await verify(photo)).state).toBe('missing')
  await writeFile(place(photo.path), photo.bytes)
  expect(await verify(photo)).toMatchObject({ state: 'intact', isRestored: true })
  expect(await isAsked(photo)).toBe(false)
})

it('a drive that refuses to be written leaves what is corrupt where it is, and it is asked for all the same', async () => {
  const photo = await backUp()
  await writeFile(place(photo.path), 'rotten')
  const injected = injectFaults()
  faults = injected
  injected.behave('rename', async () => {
    throw Object.assign(new Error('EROFS: read-only file system, rename'), { code: 'EROFS', syscall: 'rename' })
  })
  expect(await verify(photo)).toMatchObject({ state: 'corrupt', isCleared: false, isHealed: false })
  expect(await isAsked(photo)).toBe(true)
  // New bytes get another place, and nothing is a finding any more.
  const path = await send(photo.name, photo.bytes)
  expect(path).not.toBe(photo.path)
  expect(await isAsked(photo)).toBe(false)
  expect(await open(photo)).toEqual([])
})

it('an upload that is recorded while its original is being declared lost is decided again', async () => {
  const photo = await backUp()
  let other: Promise<LibraryPath> | undefined
  const loss = { path: photo.path, kind: 'missing', expected: sha256(photo.bytes), found: null } as const
  await declareLost(server.db, loss, 'gone', new Date(), async () => {
    // Another phone sends the same content: its row must not say that it is there.
    other = send(`other ${photo.name}`, photo.bytes)
    await untilWaiting()
    await rm(place(photo.path))
    return true
  })
  expect(await other).toBe(photo.path)
  expect((await readFile(place(photo.path))).equals(photo.bytes)).toBe(true)
  expect(await rowOf(photo)).toMatchObject({ lost_at: null })
  expect(await isAsked(photo)).toBe(false)
})

it('a checksum that is offered while its original is being declared lost is asked for', async () => {
  const photo = await backUp()
  let answer: Promise<{ body: { count: number } }> | undefined
  const loss = { path: photo.path, kind: 'missing', expected: sha256(photo.bytes), found: null } as const
  await declareLost(server.db, loss, 'gone', new Date(), async () => {
    answer = post(server.url, '/photos/new', { files: [{ path: 'offered', sha256: sha256(photo.bytes) }] })
    await untilWaiting()
    return true
  })
  expect((await answer)?.body.count).toBe(1)
})

/** Resolves once somebody waits for a row that somebody else holds. */
async function untilWaiting(): Promise<void> {
  for (;;) {
    const { rows } = await sql`
      select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()
    `.execute(server.db)
    if (rows.length > 0) return
  }
}

it('an original that nobody had read when it was lost is taken for what its phone sends in its size', async () => {
  const bytes = jpeg({ date: '2024:07:01 12:00:00', seed: 'old', size: 4000 })
  await sql`
    insert into files (path, size, media_type) values ('2019/Summer/old.jpg', ${bytes.length}, 'image/jpeg')
  `.execute(server.db)
  await sql`
    insert into backups (file_name, file_path, original_path, file_size, file_type, status)
    values ('old.jpg', '2019/Summer/old.jpg', 'old path', ${bytes.length}, 'photo', 'Completed')
  `.execute(server.db)
  const photo = { path: '2019/Summer/old.jpg' as LibraryPath, name: 'old path', bytes }
  expect((await verify(photo)).state).toBe('missing')
  expect(await isAsked(photo)).toBe(true)
  const other = jpeg({ date: '2024:07:01 12:00:00', seed: 'another', size: 4001 })
  expect(await send('unrelated', other)).not.toBe(photo.path)
  expect(await send('old path', bytes)).toBe(photo.path)
  expect((await readFile(place(photo.path))).equals(bytes)).toBe(true)
  expect(await rowOf(photo)).toMatchObject({ lost_at: null, size: bytes.length, verified_at: null })
  expect((await rowOf(photo)).checksum?.toString('hex')).toBe(sha256(bytes))
  expect((await verify(photo)).state).toBe('intact')
})

it('an original that nobody has read yet and that differs from its SHA256SUMS is corrupt', async () => {
  await mkdir(place('2018/05'), { recursive: true })
  await writeFile(place('2018/05/unread.jpg'), 'rotten')
  await writeFile(place('2018/05/SHA256SUMS'), `${sha256(Buffer.from('right'))}  unread.jpg\n`)
  await sql`insert into files (path) values ('2018/05/unread.jpg')`.execute(server.db)
  const photo = { path: '2018/05/unread.jpg' as LibraryPath, name: 'unread', bytes: Buffer.from('right') }
  expect(await verify(photo)).toMatchObject({ state: 'corrupt', found: sha256(Buffer.from('rotten')) })
  expect((await rowOf(photo)).checksum?.toString('hex')).toBe(sha256(photo.bytes))
  // Now that it is known what it should be, it is known when it comes.
  expect(await send('whatever', photo.bytes)).toBe(photo.path)
})

it('one whose sum is right is read and recorded', async () => {
  await writeFile(place('2018/05/fine.jpg'), 'fine')
  await writeFile(place('2018/05/SHA256SUMS'), `${sha256(Buffer.from('fine'))}  fine.jpg\n`)
  await sql`insert into files (path) values ('2018/05/fine.jpg')`.execute(server.db)
  const photo = { path: '2018/05/fine.jpg' as LibraryPath, name: 'fine', bytes: Buffer.from('fine') }
  expect((await verify(photo)).state).toBe('intact')
  const row = await rowOf(photo)
  expect(row).toMatchObject({ size: 4, lost_at: null })
  expect(row.verified_at).not.toBeNull()
})
