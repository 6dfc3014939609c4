import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, rename, stat, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { sql } from 'kysely'
import { beforeAll, expect, it } from 'vitest'
import { BEYOND_ORIGINAL, LARGEST_ORIGINAL } from '../../src/base/budgets.ts'
import { KeyedLock } from '../../src/base/keyed-lock.ts'
import { findFindings } from '../../src/catalogue/findings.ts'
import type { OfferedFile } from '../../src/catalogue/offered.ts'
import type { LibraryPath } from '../../src/format/layout.ts'
import type { Checksum } from '../../src/media/checksum.ts'
import { judge } from '../../src/phones/verdict.ts'
import { verifyOriginal } from '../../src/verify/verify-original.ts'
import { type InProcessServer, startInProcess } from '../support/in-process.ts'
import { jpeg } from '../support/media.ts'
import { get, post, upload } from '../support/phone.ts'
import { startTestDatabase } from '../support/postgres.ts'
import { boundReads } from '../support/reads.ts'
import { makeFolder } from '../support/server.ts'

/*
 * Whoever can write to the drive puts a file of terabytes, which takes no space there, where an original was. Nothing
 * reads it to its end.
 */

const MB = 1024 * 1024
/** As long as it may be at most, and takes hours to read. */
const HOLE = LARGEST_ORIGINAL
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

let server: InProcessServer
beforeAll(async () => {
  server = await startInProcess(await makeFolder(), await startTestDatabase())
})

const place = (path: string) => join(server.root, path)
const entryOf = (name: string) => ({ path: name, id: name, size: 0 })

const offered = ({ name, bytes }: { name: string; bytes: Buffer }): OfferedFile => {
  const said = { path: name, id: name, name, kind: 'photo', checksum: sha256(bytes) as Checksum } as const
  return { ...said, size: null, created: null, modified: null }
}

let count = 0
async function backUp(): Promise<{ name: string; path: LibraryPath; bytes: Buffer }> {
  const name = `HOLE_${++count}.JPG`
  const bytes = jpeg({ date: '2024:07:01 12:00:00', seed: name, size: 3000 })
  return { name, path: await send(name, bytes), bytes }
}

async function send(name: string, bytes: Buffer): Promise<LibraryPath> {
  const answer = await upload(server.url, bytes, { name, fields: { original_path: name, asset_id: name } })
  expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300)
  return answer.body.backup.file_path
}

/** Puts an original of zeros into library and catalogue, which takes no space. */
async function putZeros(path: string, size: number): Promise<{ path: LibraryPath; checksum: string }> {
  const checksum = sha256(Buffer.alloc(size))
  await mkdir(dirname(place(path)), { recursive: true })
  await writeFile(place(path), '')
  await truncate(place(path), size)
  await sql`
    insert into files (path, checksum, size, media_type, stored_at, own_date)
    values (${path}, decode(${checksum}, 'hex'), ${size}, 'video/mp4', now(), '-infinity')
  `.execute(server.db)
  return { path: path as LibraryPath, checksum }
}

/** An original of an older server that nobody has read. */
async function putUnread(path: string, size: number): Promise<void> {
  await mkdir(dirname(place(path)), { recursive: true })
  await sql`insert into files (path, size, media_type) values (${path}, ${size}, 'image/jpeg')`.execute(server.db)
  await sql`
    insert into backups (file_name, file_path, original_path, file_size, file_type, status)
    values (${path}, ${path}, ${path}, ${size}, 'photo', 'Completed')
  `.execute(server.db)
}

async function verdictsOn(...names: string[]) {
  const { status, body } = await post(server.url, '/photos/verdict', { files: names.map(entryOf) })
  expect(status).toBe(200)
  return body.files.map(({ safe, reason }: { safe: boolean; reason?: string }) => reason ?? safe)
}

it('an original that has become one is corrupt, asked for, told with both sizes, and moved away as it is', async () => {
  const photo = await backUp()
  await truncate(place(photo.path), HOLE)
  const reads = boundReads(8 * MB)
  const outcome = await verifyOriginal(server.library, photo.path)
  expect(reads.bytes).toBeLessThan(4 * MB)
  expect(outcome).toMatchObject({ state: 'corrupt', found: null, isCleared: true, isHealed: false })
  if (outcome === undefined || outcome.state === 'intact') throw new Error('nothing was found')
  const [finding] = await findFindings(server.db, [outcome.finding])
  expect(finding).toMatchObject({ kind: 'corrupt', expected: sha256(photo.bytes), found: null })
  expect((await stat(place(finding?.quarantined ?? ''))).size).toBe(HOLE)
  const { body } = await get(server.url, '/backup/log?status=Failed')
  expect(body.backups[0].failure).toContain(`it has become ${HOLE} bytes long, and ${photo.bytes.length} were expected`)
  expect(await send(photo.name, photo.bytes)).toBe(photo.path)
  expect((await readFile(place(photo.path))).equals(photo.bytes)).toBe(true)
})

it('keeps no verdict on others waiting, and is the damage that it is', async () => {
  const [one, hole, other] = [await backUp(), await backUp(), await backUp()]
  await truncate(place(hole.path), HOLE)
  boundReads(8 * MB)
  expect(await verdictsOn(one.name, hole.name, other.name)).toEqual([true, 'corrupt', true])
})

it('keeps no upload waiting that brings the photo again', async () => {
  const photo = await backUp()
  await truncate(place(photo.path), HOLE)
  boundReads(8 * MB)
  expect(await send(photo.name, photo.bytes)).toBe(photo.path)
  expect((await readFile(place(photo.path))).equals(photo.bytes)).toBe(true)
  const kept = await readdir(place('.iclood/quarantine/2024/07'))
  expect(kept.filter((name) => name.startsWith(photo.name))).toHaveLength(1)
})

it('what is not that much longer is read to its end, and so is what has the length of another original', async () => {
  const photo = await backUp()
  const video = await putZeros('2024/07/video.mp4', BEYOND_ORIGINAL + 2 * MB)
  await writeFile(place(photo.path), Buffer.concat([photo.bytes, Buffer.from('x')]))
  const longer = sha256(await readFile(place(photo.path)))
  expect(await verifyOriginal(server.library, photo.path)).toMatchObject({ state: 'corrupt', found: longer })
  await send(photo.name, photo.bytes)

  // Swapped, they heal each other.
  await rename(place(photo.path), place('swapped'))
  await rename(place(video.path), place(photo.path))
  await rename(place('swapped'), place(video.path))
  expect(await verifyOriginal(server.library, photo.path)).toMatchObject({ state: 'corrupt', found: video.checksum })
  expect(await verifyOriginal(server.library, video.path)).toMatchObject({ found: sha256(photo.bytes), isHealed: true })
  expect((await readFile(place(photo.path))).equals(photo.bytes)).toBe(true)
  expect(await verifyOriginal(server.library, video.path)).toMatchObject({ state: 'intact' })
})

it('takes no more of a verdict than may be read for one, where it has the length of another original', async () => {
  const [hole, other] = [await backUp(), await backUp()]
  await putZeros('2024/07/longer.mp4', BEYOND_ORIGINAL + 4 * MB)
  await truncate(place(hole.path), BEYOND_ORIGINAL + 4 * MB)
  const court = { db: server.db, library: server.library, reading: new KeyedLock() }
  const offer = { deviceId: 'iPhone', address: '127.0.0.1', files: [hole, other].map(offered) }
  const allowance = { bytes: 8 * MB, until: Number.POSITIVE_INFINITY }
  const reads = boundReads(BEYOND_ORIGINAL)
  const verdicts = await judge(court, offer, allowance)
  expect(verdicts).toMatchObject([{ reason: 'not_verified' }, { reason: 'not_verified' }])
  expect(reads.bytes).toBeLessThan(16 * MB)
  const { rows } = await sql`select path from copies where recheck order by path`.execute(server.db)
  expect(rows).toEqual([{ path: hole.path }, { path: other.path }])
})

it('in the place of what nobody has read keeps no upload of the same length waiting', async () => {
  const bytes = jpeg({ date: '2024:07:01 12:00:00', seed: 'unread', size: 4321 })
  await putUnread('2019/Summer/unread.jpg', bytes.length)
  await writeFile(place('2019/Summer/unread.jpg'), '')
  await truncate(place('2019/Summer/unread.jpg'), HOLE)
  boundReads(8 * MB)
  expect(await send('2019/Summer/unread.jpg', bytes)).not.toBe('2019/Summer/unread.jpg')
})

it('in the place of what was lost before anybody had read it keeps no upload waiting', async () => {
  const bytes = jpeg({ date: '2024:07:01 12:00:00', seed: 'lost', size: 4322 })
  await putUnread('2019/Summer/lost.jpg', bytes.length)
  expect(await verifyOriginal(server.library, '2019/Summer/lost.jpg' as LibraryPath)).toMatchObject({
    state: 'missing',
  })
  await writeFile(place('2019/Summer/lost.jpg'), '')
  await truncate(place('2019/Summer/lost.jpg'), HOLE)
  await post(server.url, '/photos/new', { files: [entryOf('2019/Summer/lost.jpg')] })
  boundReads(8 * MB)
  expect(await send('2019/Summer/lost.jpg', bytes)).not.toBe('2019/Summer/lost.jpg')
})

it('an original that was damaged when it was first read may be longer than it was then', async () => {
  const right = Buffer.alloc(BEYOND_ORIGINAL + MB)
  await mkdir(place('2018/05'), { recursive: true })
  await writeFile(place('2018/05/cut.mp4'), 'cut off')
  await writeFile(place('2018/05/SHA256SUMS'), `${sha256(right)}  cut.mp4\n`)
  await putUnread('2018/05/cut.mp4', 7)
  const path = '2018/05/cut.mp4' as LibraryPath
  expect(await verifyOriginal(server.library, path)).toMatchObject({ state: 'corrupt' })
  await writeFile(place(path), right)
  expect(await verifyOriginal(server.library, path)).toMatchObject({ state: 'intact', isRestored: true })
  const row = await server.db.selectFrom('files').select('size').where('path', '=', path).executeTakeFirst()
  expect(row).toEqual({ size: right.length })
})
