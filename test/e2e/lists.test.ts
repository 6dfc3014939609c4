import { createHash } from 'node:crypto'
import { rename } from 'node:fs/promises'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jpeg, mov, png } from '../support/media.ts'
import { type Answer, get, post, upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { makePhone } from '../support/wire.ts'

const DAY = 86_400_000
const TAKEN = Date.parse('2024-07-01T12:00:00Z')
const DCIM = 'file:///var/mobile/Media/DCIM/100APPLE'

let database: TestDatabase
let client: pg.Client
let server: TestServer

beforeAll(async () => {
  database = await startTestDatabase()
  client = new pg.Client(database.connection)
  await client.connect()
  server = await startServer(await makeFolder(), { DATABASE_URL: database.url })
})

afterAll(async () => {
  await server.stop()
  await client.end()
  await database.drop()
  await removeFolder(server.folder)
})

let devices = 0
const newDevice = () => `phone ${++devices}`
const ask = (device: string, files: readonly unknown[], route = '/photos/new'): Promise<Answer> =>
  post(server.url, route, { device_id: device, files })
const isAsked = async (device: string, file: object) => (await ask(device, [file])).body.count === 1
const pendingOf = async (device: string) =>
  (await get(server.url, `/backup/log?status=Pending&limit=1000&device_id=${encodeURIComponent(device)}`)).body.backups

/** Announces a photo as the app does and sends it as the app does: without id and date. */
async function backUp(device: string, file: { path: string }, bytes: Buffer, fields: Record<string, string> = {}) {
  expect(await isAsked(device, file)).toBe(true)
  const answer = await send(device, file, bytes, fields)
  expect(answer.status).toBe(201)
  return answer
}

function send(device: string, { path }: { path: string }, bytes: Buffer, fields: Record<string, string> = {}) {
  const name = path.split('/').at(-1) ?? ''
  return upload(server.url, bytes, { name, fields: { device_id: device, original_path: path, ...fields } })
}

describe('an odd entry does not stop a list: of it', () => {
  it.each<[string, object]>([
    ['a size that can’t be', { size: -1 }],
    ['a size that is a text', { size: 'abc' }],
    ['a size beyond all bounds', { size: 1e300 }],
    ['a size that is an object', { size: {} }],
    ['a created that is a word', { created: 'yesterday' }],
    ['a created that is true', { created: true }],
    ['a created beyond all bounds', { created: 1e300 }],
    ['a created long ago', { created: -1e15 }],
    ['a modified that is a list', { modified: [] }],
    ['an id that is an object', { id: {} }],
    ['an id that is too long', { id: 'x'.repeat(600) }],
    ['an id with NUL', { id: 'a\0b' }],
    ['an id that JavaScript can’t tell from others', { id: 12345678901234567000 }],
    ['a name that is a number', { name: 7 }],
    ['a name with NUL', { name: '\0' }],
    ['a type that is none', { type: 4 }],
    ['a checksum that is none', { sha256: 'abc' }],
    ['a checksum that is a number', { sha256: 12 }],
    [
      'nothing but nulls',
      { id: null, name: null, size: null, type: null, created: null, modified: null, sha256: null },
    ],
  ])('%s is as if it were absent', async (_, odd) => {
    const device = newDevice()
    const file = { path: `${DCIM}/ODD.JPG`, ...odd }
    const { status, body } = await ask(device, [file, { path: `${DCIM}/OTHER.JPG` }])
    expect(status).toBe(200)
    expect(body).toMatchObject({ count: 2, new_files: [file, { path: `${DCIM}/OTHER.JPG` }] })
    expect(body).not.toHaveProperty('invalid')
    await backUp(device, file, jpeg({ seed: device }))
    // With what was absent it is the same file.
    expect(await isAsked(device, { path: file.path })).toBe(false)
    expect(await isAsked(device, file)).toBe(false)
    for (const route of ['/photos/verdict', '/photos/ignore', '/photos/unignore']) {
      expect((await ask(device, [file], route)).status, route).toBe(200)
    }
  })

  it('what can be understood is', async () => {
    const device = newDevice()
    const path = `${DCIM}/UNDERSTOOD.PNG`
    const bytes = png({ noExif: true, seed: device })
    const file = {
      path,
      id: 7,
      size: String(bytes.length),
      created: '2024-07-01T14:00:00+02:00',
      name: 3,
      type: 'video',
    }
    expect(await isAsked(device, file)).toBe(true)
    expect(await pendingOf(device)).toMatchObject([
      { file_name: 'UNDERSTOOD.PNG', file_size: bytes.length, file_type: 'video' },
    ])
    const { rows } = await client.query('select asset_id, created from backups where device_id = $1', [device])
    expect(rows).toEqual([{ asset_id: '7', created: TAKEN }])
  })
})

describe('a photo whose bytes tell another date than its phone', () => {
  const bytes = (device: string) => jpeg({ date: '2020:01:05 10:00:00', seed: device })
  const file = (device: string, id: string) => ({ path: `${DCIM}/${device}.JPG`, id, created: TAKEN })

  it('is asked for once where it came before any list', async () => {
    const device = newDevice()
    const photo = file(device, 'A')
    await send(device, photo, bytes(device))
    expect(await isAsked(device, photo)).toBe(true)
    expect((await send(device, photo, bytes(device))).status).toBe(200)
    expect(await isAsked(device, photo)).toBe(false)
    expect(await isAsked(device, file(device, 'B'))).toBe(true)
    const proof = { ...photo, sha256: createHash('sha256').update(bytes(device)).digest('hex') }
    const verdicts = (await ask(device, [photo, proof], '/photos/verdict')).body.files
    expect(verdicts).toMatchObject([{ reason: 'not_identified' }, { safe: true }])
  })

  it('is asked for once where a new phone has another id for it', async () => {
    const device = newDevice()
    await backUp(device, file(device, 'A'), bytes(device))
    expect(await isAsked(device, file(device, 'B'))).toBe(true)
    expect((await send(device, file(device, 'B'), bytes(device))).status).toBe(200)
    expect(await isAsked(device, file(device, 'B'))).toBe(false)
    expect(await isAsked(device, file(device, 'A'))).toBe(false)
  })
})

describe('an entry without a path', () => {
  const entries = [
    { id: '1' },
    { path: null },
    { path: '' },
    { path: 7 },
    { path: 'a\0b' },
    { path: 'x'.repeat(17_000) },
    'text',
    7,
    null,
    [],
    ['a', { path: 'b' }],
    true,
  ]

  it.each(entries.map((entry) => [JSON.stringify(entry).slice(0, 40), entry] as const))(
    'such as %s is named, and the others are sorted',
    async (_, entry) => {
      const device = newDevice()
      const known = { path: `${DCIM}/KNOWN.JPG`, id: 'K' }
      await backUp(device, known, jpeg({ seed: device }), { asset_id: known.id })
      const files = [known, entry, { path: `${DCIM}/NEW.JPG` }]
      const { status, body } = await ask(device, files)
      expect(status).toBe(200)
      expect(body).toEqual({
        status: 'success',
        new_files: [files[2]],
        count: 1,
        ignored_files: [],
        backed_up_count: 1,
        invalid: [{ index: 1, message: expect.stringMatching(/^files\[1\] (has|is) .*\.$/) }],
      })

      const verdict = (await ask(device, files, '/photos/verdict')).body
      expect(verdict.invalid).toEqual(body.invalid)
      expect(verdict).toMatchObject({ count: 3, safe_count: 1 })
      const sent = typeof entry === 'object' && !Array.isArray(entry) ? entry : {}
      expect(verdict.files[1]).toEqual({ ...sent, safe: false, reason: 'invalid', message: body.invalid[0].message })
      expect(verdict.files.map((file: { safe: boolean; reason?: string }) => file.reason ?? file.safe)).toEqual([
        true,
        'invalid',
        'pending',
      ])

      const ignored = (await ask(device, [entry, files[2]], '/photos/ignore')).body
      expect(ignored).toMatchObject({ ignored_count: 1, invalid: [{ index: 0 }] })
      const unignored = (await ask(device, [entry, files[2]], '/photos/unignore')).body
      expect(unignored).toMatchObject({ unignored_count: 1, invalid: [{ index: 0 }] })
    },
  )

  it('does not stop a list of nothing else, either', async () => {
    const { status, body } = await ask(newDevice(), entries)
    expect(status).toBe(200)
    expect(body).toMatchObject({ count: 0, new_files: [], backed_up_count: 0 })
    expect(body.invalid.map(({ index }: { index: number }) => index)).toEqual(entries.map((_, index) => index))
  })
})

describe('a date', () => {
  it.each<[string, unknown]>([
    ['ms', TAKEN],
    ['ms with fractions', TAKEN + 0.5],
    ['ms as a text', String(TAKEN)],
    ['seconds', TAKEN / 1000],
    ['seconds with fractions', TAKEN / 1000 + 0.25],
    ['seconds as a text', String(TAKEN / 1000)],
    ['ISO 8601 in UTC', '2024-07-01T12:00:00Z'],
    ['ISO 8601 with ms', '2024-07-01T12:00:00.250Z'],
    ['ISO 8601 with an offset', '2024-07-01T14:00:00+02:00'],
    ['ISO 8601 with an offset without colon', '2024-07-01T14:00:00+0200'],
    ['ISO 8601 with a space', '2024-07-01 12:00:00+00:00'],
    ['ISO 8601 without seconds', '2024-07-01T12:00Z'],
    ['ISO 8601 without an offset', '2024-07-01T14:00:00'],
    ['a day', '2024-07-01'],
  ])('in %s is read alike in the form and in lists', async (_, created) => {
    const device = newDevice()
    const path = `${DCIM}/DATED.PNG`
    const bytes = png({ noExif: true, seed: device })
    const fields = { device_id: device, original_path: path, created: String(created) }
    const { body } = await upload(server.url, bytes, { name: 'DATED.PNG', fields })
    expect(body.backup.file_path).toMatch(/^2024\/07\/DATED/)
    expect(await isAsked(device, { path, created: TAKEN })).toBe(false)
    expect(await isAsked(device, { path, created })).toBe(false)
    const listed = newDevice()
    expect(await isAsked(listed, { path, created })).toBe(true)
    const { rows } = await client.query(
      'select device_id, created from backups where device_id = any($1) order by status',
      [[device, listed]],
    )
    expect(rows).toHaveLength(2)
    expect(rows[0].created).toBe(rows[1].created)
    expect(await isAsked(device, { path, created: TAKEN + 3 * DAY })).toBe(true)
  })

  it('before 1971 in ms is one in seconds, unless it can’t be', async () => {
    const device = newDevice()
    const dates = [1, 31_535_999_999, 31_536_000_000, -86_400, -1_000_000_000_000, 0]
    await ask(
      device,
      dates.map((created, index) => ({ path: `/${index}`, id: String(index), created })),
    )
    const { rows } = await client.query('select created from backups where device_id = $1 order by asset_id', [device])
    expect(rows.map((row) => row.created)).toEqual([
      1000,
      31_535_999_999_000,
      31_536_000_000,
      -86_400_000,
      -1_000_000_000_000,
      null,
    ])
  })
})

describe('a photo that is not there is asked for', () => {
  it('when it was stored with an id, and is listed without one and years apart', async () => {
    const device = newDevice()
    const file = { path: `${DCIM}/IMG_0001.PNG`, id: 'A', created: TAKEN - 4 * 365 * DAY }
    await backUp(device, file, png({ noExif: true, seed: device }))
    const other = { path: file.path, created: TAKEN }
    expect((await ask(device, [other], '/photos/verdict')).body.files[0]).toMatchObject({ reason: 'not_backed_up' })
    expect(await isAsked(device, other)).toBe(true)
    expect(await isAsked(device, { path: file.path, created: file.created })).toBe(false)
  })

  it('when the upload of that path said another date', async () => {
    const device = newDevice()
    const file = { path: `${DCIM}/IMG_0002.PNG`, id: 'A', created: TAKEN - 4 * 365 * DAY }
    expect(await isAsked(device, file)).toBe(true)
    const fields = { device_id: device, original_path: file.path, created: String(TAKEN) }
    expect(
      (await upload(server.url, png({ noExif: true, seed: device }), { name: 'IMG_0002.PNG', fields })).status,
    ).toBe(201)
    expect(await isAsked(device, file)).toBe(true)
    expect(await isAsked(device, { path: file.path, created: TAKEN })).toBe(false)
  })

  it('of two phones of one model that send no ids and no dates with their photos', async () => {
    const [model, path] = [newDevice(), `${DCIM}/IMG_0003.PNG`]
    const [hers, his] = [makePhone(server, model, '127.0.0.2'), makePhone(server, model, '127.0.0.3')]
    const hersFile = { path, created: TAKEN - 4 * 365 * DAY }
    const hisFile = { path, created: TAKEN }
    const form = { name: 'IMG_0003.PNG', fields: { original_path: path } }
    await hers.offer(hersFile)
    await his.offer(hisFile)
    await hers.upload(png({ noExif: true, seed: 'hers' }), form)
    expect(await his.offer(hisFile)).toMatchObject({ count: 1 })
    await his.upload(png({ noExif: true, seed: 'his' }), form)
    expect(await his.offer(hisFile)).toMatchObject({ count: 0 })
    expect(await hers.offer(hersFile)).toMatchObject({ count: 0 })
  })

  it('when its name has come round again since the old server stored it', async () => {
    const device = newDevice()
    await client.query(
      `insert into files (path, size, stored_at) values ('2019/01/' || $1, 5, '2019-01-05');`.replace(';', ''),
      [device],
    )
    await client.query(
      `insert into backups (file_name, file_path, original_path, file_size, file_type, device_id, timestamp, status)
       values ('IMG_0004.JPG', '2019/01/' || $1::text, '/DCIM/IMG_0004.JPG', 5, 'photo', $1, '2019-01-05', 'Completed')`,
      [device],
    )
    expect(await isAsked(device, { path: '/DCIM/IMG_0004.JPG' })).toBe(false)
    expect(await isAsked(device, { path: '/DCIM/IMG_0004.JPG', id: 'A', created: Date.parse('2019-01-04') })).toBe(
      false,
    )
    expect(await isAsked(device, { path: '/DCIM/IMG_0004.JPG', id: 'B', created: Date.parse('2023-01-04') })).toBe(true)
  })
})

describe('an ignore is for the asset', () => {
  const path = `${DCIM}/IGNORED.JPG`
  const isIgnored = async (device: string, file: object) => (await ask(device, [file])).body.ignored_files.length === 1

  it('that was announced under its path, if only that is given', async () => {
    const device = newDevice()
    const file = { path, id: 'A', created: TAKEN, size: 5000 }
    await ask(device, [file])
    expect((await ask(device, [{ path }], '/photos/ignore')).body.ignored_count).toBe(1)
    expect(
      (await get(server.url, `/photos/ignored?device_id=${encodeURIComponent(device)}`)).body.ignored_files,
    ).toMatchObject([{ path, original_path: path, asset_id: 'A', file_name: 'IGNORED.JPG', device_id: device }])
    expect(await isIgnored(device, file)).toBe(true)
    expect(await isIgnored(device, { path, created: TAKEN })).toBe(true)
    expect(await isIgnored(device, { path, id: 'B', created: TAKEN })).toBe(false)
    expect(await isIgnored(device, { path, created: TAKEN + 365 * DAY })).toBe(false)
    // The next photo of that name is ignored by itself.
    expect((await ask(device, [{ path, id: 'B', created: TAKEN }], '/photos/ignore')).body.ignored_count).toBe(1)
    expect(await isIgnored(device, { path, id: 'B', created: TAKEN })).toBe(true)
    expect((await ask(device, [file], '/photos/unignore')).body.unignored_count).toBe(1)
    expect(await isIgnored(device, file)).toBe(false)
    expect(await isIgnored(device, { path, id: 'B', created: TAKEN })).toBe(true)
  })

  it('of the phone that says so, of two of one model, by its id also from another address', async () => {
    const model = newDevice()
    const [hers, his] = [makePhone(server, model, '127.0.0.2'), makePhone(server, model, '127.0.0.3')]
    const [herFile, hisFile] = [
      { path, id: 'HERS', created: TAKEN },
      { path, id: 'HIS', created: TAKEN },
    ]
    await hers.offer(herFile)
    await his.offer(hisFile)
    await ask(model, [hisFile], '/photos/ignore')
    expect(await his.offer(hisFile)).toMatchObject({ count: 0, ignored_files: [hisFile] })
    expect(await hers.offer(herFile)).toMatchObject({ count: 1 })
  })

  it('which was there: what is created later under a path of which nothing else is known is something else', async () => {
    const device = newDevice()
    await ask(device, [{ path }], '/photos/ignore')
    expect(await isIgnored(device, { path, id: 'A', created: Date.now() - DAY })).toBe(true)
    expect(await isIgnored(device, { path, id: 'A', created: Date.now() + DAY })).toBe(false)
    expect((await ask(device, [{ path, created: Date.now() + DAY }], '/photos/verdict')).body.files[0].reason).not.toBe(
      'ignored',
    )
  })

  it('and is taken back by what the list of them says', async () => {
    const device = newDevice()
    await ask(device, [{ path, id: 'A', created: TAKEN }], '/photos/ignore')
    const { body } = await get(server.url, `/photos/ignored?device_id=${encodeURIComponent(device)}`)
    expect((await ask(device, body.ignored_files, '/photos/unignore')).body.unignored_count).toBe(1)
    expect(await isIgnored(device, { path, id: 'A', created: TAKEN })).toBe(false)
  })
})

describe('videos that the app exports each time that it lists them', () => {
  const exported = (device: string, n: number) =>
    `file:///var/mobile/Containers/Data/Application/${device.replace(' ', '-')}-${n}/Library/Caches/IMG_0042.mov`

  it('are stored once, though path and size are others each time', async () => {
    const device = newDevice()
    const list = (n: number) => ({
      path: exported(device, n),
      id: 'B84E8479/L0/001',
      name: 'IMG_0042.mov',
      size: 4000 + n,
      type: 'video',
      created: TAKEN + 0.5,
    })
    await backUp(device, list(1), mov({ seed: device, size: 5000 }), { file_type: 'video', asset_id: list(1).id })
    for (let n = 2; n < 6; n++) {
      expect((await ask(device, [list(n)])).body).toMatchObject({ count: 0, backed_up_count: 1 })
      expect((await ask(device, [list(n)], '/photos/verdict')).body.files[0]).toMatchObject({ safe: true })
    }
    expect(await pendingOf(device)).toEqual([])
    // An edit lies elsewhere, and counts.
    const edit = {
      ...list(6),
      path: 'file:///var/mobile/Media/PhotoData/Mutations/DCIM/100APPLE/IMG_0042/Adjustments/FullSizeRender.mov',
    }
    expect(await isAsked(device, edit)).toBe(true)
  })

  it('that nobody sends wait once, whatever their paths', async () => {
    const device = newDevice()
    for (let n = 0; n < 10; n++) {
      const files = ['A', 'B'].map((id) => ({
        path: exported(`${device}${id}`, n),
        id: `${id}/L0/001`,
        type: 'video',
        created: TAKEN,
      }))
      expect((await ask(device, files)).body.count).toBe(2)
    }
    const waiting = await pendingOf(device)
    expect(waiting.map((row: { original_path: string }) => row.original_path).sort()).toEqual([
      exported(`${device}A`, 9),
      exported(`${device}B`, 9),
    ])
  })

  it('and are ignored stay ignored', async () => {
    const device = newDevice()
    const list = (n: number) => ({ path: exported(device, n), id: 'I/L0/001', created: TAKEN })
    await ask(device, [list(1)], '/photos/ignore')
    expect((await ask(device, [list(2)])).body).toMatchObject({ count: 0, ignored_files: [list(2)] })
    expect((await ask(device, [list(3)], '/photos/unignore')).body.unignored_count).toBe(1)
    expect(await isAsked(device, list(4))).toBe(true)
  })
})

describe('announcements that nobody sends', () => {
  const age = (device: string, days: number) =>
    client.query(
      `update backups set timestamp = now() - $2 * interval '1 day' where device_id = $1 and status = 'Pending'`,
      [device, days],
    )

  it('go a month after their phone last listed them', async () => {
    const device = newDevice()
    await backUp(device, { path: '/DCIM/SENT.JPG' }, jpeg({ seed: device }))
    const [old, listed] = [{ path: '/DCIM/OLD.JPG' }, { path: '/DCIM/LISTED.JPG' }]
    await ask(device, [old, listed])
    await age(device, 8)
    // Listed again in just the same way.
    await ask(device, [listed])
    await client.query(
      `update backups set timestamp = timestamp - interval '23 days' where device_id = $1 and status = 'Pending'`,
      [device],
    )
    await ask('somebody else', [{ path: '/DCIM/ANY.JPG' }])
    expect((await pendingOf(device)).map((row: { original_path: string }) => row.original_path)).toEqual([listed.path])
  })

  it('stay for longer while nothing of their phone has ever arrived: they say that it tries in vain', async () => {
    const device = newDevice()
    await ask(device, [{ path: '/DCIM/VAIN.JPG' }])
    await age(device, 80)
    await ask('somebody else', [{ path: '/DCIM/ANY.JPG' }])
    expect(await pendingOf(device)).toHaveLength(1)
    await age(device, 100)
    await ask('somebody else', [{ path: '/DCIM/OTHER.JPG' }])
    expect(await pendingOf(device)).toHaveLength(0)
  })
})

it('with the drive away a list is refused, whatever is in it, and ignoring goes on', async () => {
  const device = newDevice()
  const known = { path: `${DCIM}/AWAY.JPG`, id: 'A' }
  await backUp(device, known, jpeg({ seed: device }))
  await rename(server.library, `${server.library}.away`)
  try {
    for (const files of [[], [known], [known, { path: 'new' }]]) {
      const answer = await ask(device, files)
      expect(answer).toMatchObject({
        status: 503,
        body: { status: 'error', code: 'drive_missing', message: expect.stringMatching(/drive/) },
      })
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
      expect(answer.body).not.toHaveProperty('new_files')
    }
    expect((await ask(device, [{ path: 'unwanted' }], '/photos/ignore')).status).toBe(200)
    expect((await get(server.url, '/backup/log')).status).toBe(200)
  } finally {
    await rename(`${server.library}.away`, server.library)
  }
  expect((await ask(device, [known])).body).toMatchObject({ count: 0, backed_up_count: 1 })
})
