import { randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { uploadsIn } from '../support/drives.ts'
import { jpeg } from '../support/media.ts'
import { get, upload } from '../support/phone.ts'
import { startTestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { makePhone } from '../support/wire.ts'

let server: TestServer

beforeAll(async () => {
  server = await startServer(await makeFolder())
})

afterAll(async () => {
  await server.stop()
  await removeFolder(server.folder)
})

/** A photo of a month that nothing else in this file uses, so that a test knows all that lies there. */
let month = 0
function freshMonth() {
  month += 1
  const [year, number] = [2000 + Math.floor(month / 12), String((month % 12) + 1).padStart(2, '0')]
  return {
    folder: `${year}/${number}`,
    photo: (seed: string, size = 2000) => jpeg({ date: `${year}:${number}:15 12:00:00`, seed, size }),
  }
}

const list = async (folder: string) => {
  const names = await readdir(join(server.library, folder)).catch(() => [])
  return names.filter((name) => name !== 'SHA256SUMS').sort()
}
const read = (path: string) => readFile(join(server.library, path))
const staging = () => uploadsIn(server.library)
const path = (name: string) => `file:///var/mobile/Media/DCIM/100APPLE/${name}`

/** Every row that claims to be on the drive is, whole. */
async function expectWhole() {
  const { backups } = (await get(server.url, '/backup/log?limit=10000&status=Completed')).body
  for (const { file_path, file_size } of backups) {
    expect((await stat(join(server.library, file_path))).size).toBe(file_size)
  }
}

it('the same bytes are stored once under many names, phones and paths, and each counts as backed up', async () => {
  const { folder, photo } = freshMonth()
  const bytes = photo('one')
  const first = await upload(server.url, bytes, { name: 'A.JPG', fields: { original_path: path('A.JPG') } })
  expect(first.status).toBe(201)
  const ids = new Set([first.body.backup.id])
  for (const [device, name] of [
    ['unknown', 'B.JPG'],
    ['iPhone', 'A.JPG'],
    ['iPhone', 'C.HEIC'],
    ['iPad', 'A.JPG'],
  ] as const) {
    const fields = { device_id: device, original_path: path(name) }
    const { status, body } = await upload(server.url, bytes, { name, fields })
    expect(status).toBe(200)
    expect(body.backup).toMatchObject({ file_path: `${folder}/A.JPG`, file_name: name, device_id: device })
    ids.add(body.backup.id)
    expect(await makePhone(server, device).offer({ path: path(name) })).toMatchObject({ count: 0, backed_up_count: 1 })
  }
  expect(ids.size).toBe(5)
  expect(await list(folder)).toEqual(['A.JPG'])
  expect(await staging()).toEqual([])
})

it('the same bytes are stored once though hundreds send them at the same moment', async () => {
  const { folder, photo } = freshMonth()
  const bytes = photo('crowd', 50_000)
  const completed = async () => (await get(server.url, '/backup/log?limit=1&status=Completed')).body.total
  const before = await completed()
  const answers = await Promise.all(
    Array.from({ length: 300 }, (_, index) =>
      upload(server.url, bytes, {
        name: `N${index % 7}.JPG`,
        fields: { device_id: `phone ${index % 30}`, original_path: path(`N${index % 10}.JPG`) },
      }),
    ),
  )
  expect(answers.filter((answer) => answer.status === 201)).toHaveLength(1)
  expect(answers.filter((answer) => answer.status === 200)).toHaveLength(299)
  expect(await list(folder)).toHaveLength(1)
  expect(new Set(answers.map((answer) => answer.body.backup.file_path)).size).toBe(1)
  // 30 phones; each index has one phone and one path: 30 pairs in all.
  expect((await completed()) - before).toBe(30)
  expect(await staging()).toEqual([])
})

it('hundreds of different contents under one name at the same moment are all kept, under names of their own', async () => {
  const { folder, photo } = freshMonth()
  const contents = Array.from({ length: 300 }, (_, index) => photo(`different ${index}`, 1000 + index))
  const answers = await Promise.all(
    contents.map((bytes, index) =>
      upload(server.url, bytes, {
        name: ['IMG_1.JPG', 'img_1.jpg', 'Img_1.JPG'][index % 3] ?? '',
        fields: { device_id: 'iPhone', original_path: path('IMG_1.JPG') },
      }),
    ),
  )
  expect(answers.filter((answer) => answer.status !== 201)).toEqual([])
  const names = await list(folder)
  expect(names).toHaveLength(300)
  expect(new Set(names.map((name) => name.toLowerCase())).size).toBe(300)
  for (const [index, answer] of answers.entries()) {
    expect((await read(answer.body.backup.file_path)).equals(contents[index] ?? Buffer.alloc(0))).toBe(true)
  }
  // Each is known, too: every one of the rows is there.
  const rows = (await get(server.url, '/backup/log?limit=10000&status=Completed')).body.backups
  const known = new Set(rows.map((row: { file_path: string }) => row.file_path))
  for (const name of names) expect(known).toContain(`${folder}/${name}`)
})

it('contents that arrive at the same moment under one path without an extension all keep their rows', async () => {
  const { photo } = freshMonth()
  const original = 'ph://1E5B4B0F-9E0C-4B0C-8A1D-2E3F4A5B6C7D'
  await makePhone(server, 'ph').offer({ path: original, id: 'x' })
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, index) =>
      upload(server.url, photo(`ph ${index}`), {
        name: 'PH.JPG',
        fields: { device_id: 'ph', original_path: original },
      }),
    ),
  )
  expect(answers.every((answer) => answer.status === 201)).toBe(true)
  expect(new Set(answers.map((answer) => answer.body.backup.id)).size).toBe(40)
  expect((await get(server.url, '/backup/log?device_id=ph&limit=1000')).body.total).toBe(40)
})

it('a different content under a known path is kept beside the old one', async () => {
  const { folder, photo } = freshMonth()
  const fields = { device_id: 'iPhone', original_path: path('SAME.JPG'), asset_id: 'SAME' }
  const contents = ['v1', 'v2', 'v3'].map((seed) => photo(seed))
  for (const bytes of contents) {
    expect((await upload(server.url, bytes, { name: 'SAME.JPG', fields })).status).toBe(201)
  }
  expect(await list(folder)).toEqual(['SAME (2).JPG', 'SAME (3).JPG', 'SAME.JPG'])
  // Any of them is recognised when it comes again, and nothing changes.
  for (const bytes of contents.toReversed()) {
    expect((await upload(server.url, bytes, { name: 'SAME.JPG', fields })).status).toBe(200)
  }
  expect(await list(folder)).toHaveLength(3)
  for (const [index, name] of ['SAME.JPG', 'SAME (2).JPG', 'SAME (3).JPG'].entries()) {
    expect((await read(`${folder}/${name}`)).equals(contents[index] ?? Buffer.alloc(0))).toBe(true)
  }
})

it('a file that has gone from the drive is restored by the next upload of its bytes, whoever sends it', async () => {
  const { folder, photo } = freshMonth()
  const bytes = photo('restored')
  const fields = { device_id: 'iPhone', original_path: path('REST.JPG') }
  const first = await upload(server.url, bytes, { name: 'REST.JPG', fields })
  await rm(join(server.library, folder, 'REST.JPG'))
  const second = await upload(server.url, bytes, { name: 'ELSE.JPG', fields: { ...fields, device_id: 'iPad' } })
  expect(second.status).toBe(201)
  expect(second.body.backup.file_path).toBe(`${folder}/REST.JPG`)
  expect((await read(`${folder}/REST.JPG`)).equals(bytes)).toBe(true)
  const third = await upload(server.url, bytes, { name: 'REST.JPG', fields })
  expect(third).toMatchObject({ status: 200, body: { backup: { id: first.body.backup.id } } })
  await expectWhole()
})

it.each([
  ['month', (folder: string) => folder],
  ['year', (folder: string) => folder.slice(0, 4)],
])('a %s that has gone from the drive while the server runs comes back with the next uploads', async (_, whole) => {
  // A year of its own.
  month += 24
  const { folder, photo } = freshMonth()
  const bytes = photo('in a folder')
  const first = await upload(server.url, bytes, { name: 'F.JPG' })
  await rm(join(server.library, whole(folder)), { recursive: true })
  const other = await upload(server.url, photo('another'), { name: 'G.JPG' })
  expect(other).toMatchObject({ status: 201, body: { backup: { file_path: `${folder}/G.JPG` } } })
  await rm(join(server.library, whole(folder)), { recursive: true })
  const again = await upload(server.url, bytes, { name: 'F.JPG' })
  expect(again).toMatchObject({ status: 201, body: { backup: { file_path: first.body.backup.file_path } } })
  expect((await read(`${folder}/F.JPG`)).equals(bytes)).toBe(true)
  await upload(server.url, photo('another'), { name: 'G.JPG' })
})

it('a file that was damaged on the drive is not taken for the photo, and neither is overwritten', async () => {
  const { folder, photo } = freshMonth()
  const bytes = photo('damaged')
  await upload(server.url, bytes, { name: 'D.JPG', fields: { original_path: path('D.JPG') } })
  await truncate(join(server.library, folder, 'D.JPG'), 100)
  const again = await upload(server.url, bytes, { name: 'D.JPG', fields: { original_path: path('D.JPG') } })
  expect(again).toMatchObject({ status: 201, body: { backup: { file_path: `${folder}/D.JPG` } } })
  expect((await read(`${folder}/D.JPG`)).equals(bytes)).toBe(true)
  const [quarantined] = await list(`.iclood/quarantine/${folder}`)
  expect(quarantined).toMatch(/^D\.JPG\.\d{8}T\d{6}Z$/)
  expect((await read(`.iclood/quarantine/${folder}/${quarantined}`)).equals(bytes.subarray(0, 100))).toBe(true)
  await expectWhole()
})

it('a file with the same bytes that the catalogue does not know is adopted, not stored twice', async () => {
  const { folder, photo } = freshMonth()
  const bytes = photo('unrecorded')
  // What a server leaves that is killed after it has given the name and before it has recorded it.
  await mkdir(join(server.library, folder), { recursive: true })
  await writeFile(join(server.library, folder, 'K.JPG'), bytes)
  const { body } = await upload(server.url, bytes, { name: 'K.JPG', fields: { original_path: path('K.JPG') } })
  expect(body.backup.file_path).toBe(`${folder}/K.JPG`)
  expect(await list(folder)).toEqual(['K.JPG'])
  expect((await upload(server.url, bytes, { name: 'K.JPG' })).status).toBe(200)
})

it('an unrecorded file under a numbered name is adopted, too, also where its number was given out before', async () => {
  const { folder, photo } = freshMonth()
  await upload(server.url, photo('first'), { name: 'L.JPG' })
  await upload(server.url, photo('second'), { name: 'L.JPG' })
  await upload(server.url, photo('third'), { name: 'L.JPG' })
  const bytes = photo('unrecorded second')
  await rename(join(server.library, folder, 'L (2).JPG'), join(server.library, folder, 'moved away.JPG'))
  await writeFile(join(server.library, folder, 'L (2).JPG'), bytes)
  const { body } = await upload(server.url, bytes, { name: 'L.JPG' })
  // The catalogue has that path for another content: it must not be given to this one.
  expect(body.backup.file_path).toBe(`${folder}/L (4).JPG`)
  await writeFile(join(server.library, folder, 'L (5).JPG'), photo('unrecorded fifth'))
  const fifth = await upload(server.url, photo('unrecorded fifth'), { name: 'L.JPG' })
  expect(fifth.body.backup.file_path).toBe(`${folder}/L (5).JPG`)
  expect(await list(folder)).toHaveLength(6)
})

it('an unrecorded file of the same name and length with other bytes is left alone', async () => {
  const { folder, photo } = freshMonth()
  const [mine, theirs] = [photo('mine'), photo('theirs')]
  await mkdir(join(server.library, folder), { recursive: true })
  await writeFile(join(server.library, folder, 'M.JPG'), theirs)
  const { body } = await upload(server.url, mine, { name: 'M.JPG' })
  expect(body.backup.file_path).toBe(`${folder}/M (2).JPG`)
  expect((await read(`${folder}/M.JPG`)).equals(theirs)).toBe(true)
})

it('no sequence of uploads, losses and strangers at the same moment loses, damages or doubles a photo', async () => {
  const { folder, photo } = freshMonth()
  const contents = Array.from({ length: 12 }, (_, index) => photo(`storm ${index}`, 3000 + index))
  const storm = Array.from({ length: 240 }, async (_, index) => {
    const which = (index * 7) % contents.length
    const bytes = contents[which] ?? Buffer.alloc(0)
    if (index % 20 === 0) {
      await writeFile(join(server.library, folder, `img_${(index / 20) % 4}.jpg`), `stranger ${index}`, {
        flag: 'wx',
      }).catch(() => {})
    }
    return upload(server.url, bytes, {
      name: `IMG_${which % 4}.JPG`,
      fields: { device_id: `p${index % 3}`, original_path: path(`IMG_${index % 5}.JPG`), asset_id: randomUUID() },
    })
  })
  const answers = await Promise.all(storm)
  expect(answers.filter((answer) => answer.status > 201)).toEqual([])
  const files = await Promise.all((await list(folder)).map(async (name) => read(`${folder}/${name}`)))
  for (const bytes of contents) expect(files.filter((file) => file.equals(bytes))).toHaveLength(1)
  for (const [index, answer] of answers.entries()) {
    const bytes = contents[(index * 7) % contents.length] ?? Buffer.alloc(0)
    expect((await read(answer.body.backup.file_path)).equals(bytes)).toBe(true)
  }
  expect(await staging()).toEqual([])
})

it('what was committed and could not be recorded is adopted when it comes again, whatever came in between', async () => {
  const { photo } = freshMonth()
  const database = await startTestDatabase()
  const other = await startServer(await makeFolder(), { DATABASE_URL: database.url })
  const client = new pg.Client(database.connection)
  await client.connect()
  try {
    const send = (seed: string) =>
      upload(other.url, photo(seed), { name: 'R.JPG', fields: { original_path: path('R.JPG') } })
    await send('before')
    // The catalogue refuses to learn of new files, as a database does whose disk is full.
    await client.query(`
      create function refuse() returns trigger language plpgsql as $$ begin raise 'refused' using errcode = '53100'; end $$;
      create trigger refuse before insert on files execute function refuse()`)
    const refused = await Promise.all([send('a'), send('b'), send('c')])
    for (const answer of refused) expect(answer).toMatchObject({ status: 503, body: { code: 'database_unavailable' } })
    await client.query('drop trigger refuse on files')

    const placed = [await send('new'), await send('c'), await send('newer'), await send('a'), await send('b')]
    expect(placed.map((answer) => answer.status)).toEqual([201, 201, 201, 201, 201])
    const months = (await readdir(other.library)).filter((name) => /^\d{4}$/.test(name))
    const files = (
      await Promise.all(months.map((year) => readdir(join(other.library, year), { recursive: true })))
    ).flat()
    expect(files.filter((name) => name.endsWith('.JPG'))).toHaveLength(6)
    for (const [index, seed] of ['new', 'c', 'newer', 'a', 'b'].entries()) {
      const file = await readFile(join(other.library, placed[index]?.body.backup.file_path))
      expect(file.equals(photo(seed))).toBe(true)
    }
    expect(await uploadsIn(other.library)).toEqual([])
  } finally {
    await client.end()
    await other.stop()
    await removeFolder(other.folder)
  }
})
