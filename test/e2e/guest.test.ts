import { createHash } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jpeg, png } from '../support/media.ts'
import { formOf, get, post } from '../support/phone.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'
import { send, type WireAnswer } from '../support/wire.ts'

/*
 * Somebody in the Wi-Fi who wants a phone to delete, or never to send, a photo that is not there. Addresses tell who is
 * who; nothing else does.
 */

const PHONE = '127.0.0.2'
const PHONE_LATER = '127.0.0.4'
const GUEST = '127.0.0.3'
const TAKEN = Date.parse('2024-07-01T12:00:00Z')
const DAY = 86_400_000

let server: TestServer

beforeAll(async () => {
  server = await startServer(await makeFolder())
})

afterAll(async () => {
  await server.stop()
  await removeFolder(server.folder)
})

const photoOf = (seed: string) => jpeg({ date: '2024:07:01 12:00:00', offset: '+00:00', seed })
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

interface Listed {
  path: string
  id?: string
  size?: number
  created?: number
  sha256?: string
}

let models = 0

/** A household with one phone: what everybody in it may say to the server, each from an address of their own. */
function household() {
  const model = `iPhone ${++models}`
  const list = async (from: string, route: string, files: readonly Listed[]) => {
    const body = JSON.stringify({ device_id: model, files })
    const headers = { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) }
    const answer = await send(server, { method: 'POST', path: route, headers, body, from })
    expect(answer.status).toBe(200)
    return answer.body
  }
  const upload = async (from: string, path: string, bytes: Buffer, fields: Record<string, string> = {}) => {
    const form = formOf(bytes, {
      name: path.split('/').at(-1) ?? '',
      fields: { original_path: path, device_id: model, file_type: 'photo', ...fields },
    })
    const headers = { 'content-type': form.contentType, 'content-length': String(form.body.length) }
    return send(server, { method: 'POST', path: '/photos/upload', headers, body: form.body, from })
  }
  return {
    model,
    path: `file:///var/mobile/Media/DCIM/100APPLE/IMG_${models}.JPG`,
    upload,
    list,
    isAsked: async (file: Listed, from = PHONE): Promise<boolean> =>
      (await list(from, '/photos/new', [file])).count === 1,
    verdict: async (file: Listed, from = PHONE) => (await list(from, '/photos/verdict', [file])).files[0],
    log: async (query: string, from: string) =>
      (await send(server, { path: `/backup/log?device_id=${encodeURIComponent(model)}&${query}`, from })).body,
  }
}

type House = ReturnType<typeof household>

/** That nobody has made the phone believe anything: it is asked for the photo, and may not delete it. */
async function expectStillMissing({ isAsked, verdict }: House, file: Listed, reason = 'pending'): Promise<void> {
  expect(await isAsked(file)).toBe(true)
  expect(await verdict(file)).toMatchObject({ safe: false, reason })
  // The same to a phone that has got another address.
  expect((await verdict(file, PHONE_LATER)).safe).toBe(false)
  expect(await isAsked(file, PHONE_LATER)).toBe(true)
}

describe('a guest who sends four bytes under the path of a photo that a phone was asked for', () => {
  const JUNK = Buffer.from('junk')
  const attacks: [string, (house: House, file: Listed) => Promise<WireAnswer | undefined>][] = [
    ['without an id', ({ upload, path }) => upload(GUEST, path, JUNK)],
    ['with an id that he has made up', ({ upload, path }) => upload(GUEST, path, JUNK, { asset_id: 'X/L0/001' })],
    ['with a date', ({ upload, path }) => upload(GUEST, path, JUNK, { created: String(TAKEN) })],
    [
      'having announced it himself',
      async ({ list, upload, path }) => {
        await list(GUEST, '/photos/new', [{ path }, { path, created: TAKEN }, { path, id: 'X/L0/001' }])
        return upload(GUEST, path, JUNK)
      },
    ],
    [
      'and says that they are what the library has already',
      async ({ list, upload, path }) => {
        const known = photoOf(`known ${path}`)
        await upload(GUEST, `${path}.other`, known)
        await list(GUEST, '/photos/new', [
          { path, sha256: sha256(known) },
          { path, created: TAKEN, sha256: sha256(known) },
        ])
        return undefined
      },
    ],
  ]

  it.each(attacks)('%s, has sent a photo of his own', async (_, attack) => {
    for (const file of [{ id: '91F1B4/L0/001', created: TAKEN }, { id: '91F1B4/L0/001' }, { created: TAKEN }, {}]) {
      const house = household()
      const listed = { path: house.path, size: 0, ...file }
      expect(await house.isAsked(listed)).toBe(true)
      const answer = await attack(house, listed)
      expect([200, 201, undefined]).toContain(answer?.status)
      // A phone that is known by its address alone is another one from elsewhere: nothing is pending for that.
      expect(await house.isAsked(listed)).toBe(true)
      expect(await house.verdict(listed)).toMatchObject({ safe: false, reason: 'pending' })
      expect((await house.verdict(listed, PHONE_LATER)).safe).toBe(false)
      // And what the phone sends is backed up as ever.
      const bytes = photoOf(`his own ${house.path}`)
      expect((await house.upload(PHONE, house.path, bytes)).status).toBe(201)
      expect(await house.isAsked(listed)).toBe(false)
      expect(await house.verdict({ ...listed, sha256: sha256(bytes) })).toMatchObject({ safe: true })
    }
  })

  it('again and again, does not crowd out the phone’s row', async () => {
    const house = household()
    const file = { path: house.path, created: TAKEN }
    await house.isAsked(file)
    for (let n = 0; n < 3; n++) {
      const files = Array.from({ length: 200 }, (_, m) => ({ path: house.path, id: `${n} ${m}`, created: TAKEN }))
      await house.list(GUEST, '/photos/new', files)
    }
    await house.upload(GUEST, house.path, JUNK)
    await expectStillMissing(house, { ...file, id: 'A' }, 'pending')
    const bytes = photoOf('not crowded out')
    await house.upload(PHONE, house.path, bytes)
    expect(await house.isAsked(file)).toBe(false)
  })

  it('learns nothing of when the phone’s photo was taken', async () => {
    const house = household()
    await house.isAsked({ path: house.path, id: 'A', created: TAKEN })
    for (const path of [house.path, house.path.replace('.JPG', '.MOV')]) {
      const { body } = await house.upload(GUEST, path, Buffer.from(`junk ${path}`))
      expect(body.backup).toMatchObject({ captured_at: null })
      expect(body.backup.file_path).not.toContain('2024/07')
    }
  })

  it('that break off, does not have the phone’s upload recorded as failed', async () => {
    const house = household()
    const file = { path: house.path, id: 'A', created: TAKEN }
    await house.isAsked(file)
    expect((await house.upload(GUEST, house.path, JUNK, { sha256: '0'.repeat(64) })).status).toBe(422)
    await expectStillMissing(house, file)
  })
})

describe('a photo that was announced from another address', () => {
  it('is completed by its id', async () => {
    const house = household()
    const file = { path: house.path, id: 'A', created: TAKEN }
    await house.isAsked(file)
    await house.upload(PHONE_LATER, house.path, png({ noExif: true, seed: house.path }), { asset_id: 'A' })
    expect(await house.isAsked(file)).toBe(false)
    expect(await house.verdict(file)).toMatchObject({ safe: true })
  })

  it.each<[string, boolean, (size: number) => Partial<Listed>]>([
    ['is completed by what has its size and its date', true, (size) => ({ size, created: TAKEN })],
    ['is not completed by its date alone', false, () => ({ created: TAKEN })],
    ['is not completed by its size alone', false, (size) => ({ size })],
    ['is not completed by what was taken another day', false, (size) => ({ size, created: TAKEN + 2 * DAY })],
    ['is not completed by what has another size', false, (size) => ({ size: size + 1, created: TAKEN })],
  ])('%s', async (_, isCompleted, said) => {
    const house = household()
    const bytes = photoOf(house.path)
    const file = { path: house.path, id: 'A', ...said(bytes.length) }
    await house.isAsked(file)
    await house.upload(PHONE_LATER, house.path, bytes)
    expect(await house.isAsked(file)).toBe(!isCompleted)
    expect((await house.verdict(file)).safe).toBe(isCompleted)
  })

  it('is asked for once more where a phone’s address changes before it sends, and then not any more', async () => {
    for (const bytes of [photoOf('moving'), png({ noExif: true, seed: 'moving' })]) {
      const house = household()
      // As the app has it: no size, and nothing but the path with the upload.
      const file = { path: house.path, id: 'A', size: 0, created: TAKEN }
      expect(await house.isAsked(file, PHONE)).toBe(true)
      expect((await house.upload(PHONE_LATER, house.path, bytes)).status).toBe(201)
      expect(await house.isAsked(file, PHONE_LATER)).toBe(false)
      // One that changes with each list and each upload settles as soon as it keeps one between the two.
      expect(await house.isAsked(file, PHONE)).toBe(true)
      expect((await house.upload(PHONE, house.path, bytes)).status).toBe(200)
      for (const from of [PHONE, PHONE_LATER, '127.0.0.77']) expect(await house.isAsked(file, from)).toBe(false)
      const { body } = await get(server.url, `/backup/log?device_id=${encodeURIComponent(house.model)}`)
      expect(new Set(body.backups.map((row: { file_path: string }) => row.file_path)).size).toBe(1)
    }
  })
})

describe('a phone may delete', () => {
  it('nothing for its path and what its list has said, though the server has bytes from its own address', async () => {
    const house = household()
    const file = { path: house.path, id: 'A', created: TAKEN }
    await house.isAsked(file)
    // Behind a proxy that does not say who asks, a guest has that address as well.
    await house.upload(PHONE, house.path, Buffer.from('junk from next door'))
    expect(await house.isAsked(file)).toBe(false)
    for (const said of [file, { ...file, size: 0 }, { path: house.path }, { path: house.path, created: TAKEN }]) {
      expect(await house.verdict(said)).toMatchObject({ safe: false, reason: 'not_identified' })
    }
    expect(await house.verdict({ ...file, size: 19 })).toMatchObject({ safe: false })
  })

  it('what came with its id, what has its checksum, and what has its size and its date in its bytes', async () => {
    const [identified, dated] = [household(), household()]
    const [one, other] = [photoOf('identified'), photoOf('dated')]
    await identified.upload(PHONE, identified.path, one, { asset_id: 'A' })
    await dated.upload(PHONE, dated.path, other)
    expect(await identified.verdict({ path: identified.path, id: 'A' }, PHONE_LATER)).toMatchObject({ safe: true })
    expect(await identified.verdict({ path: 'elsewhere', sha256: sha256(one) })).toMatchObject({ safe: true })
    const size = other.length
    expect(await dated.verdict({ path: dated.path, size, created: TAKEN + 5 })).toMatchObject({ safe: true })
    expect((await dated.verdict({ path: dated.path, size, created: TAKEN + 2 * DAY })).safe).toBe(false)
    expect((await dated.verdict({ path: dated.path, size: size + 1, created: TAKEN })).safe).toBe(false)
    expect((await dated.verdict({ path: dated.path, size })).safe).toBe(false)
  })

  it('nothing for its id with other bytes, from whoever has heard it, where it says how many or what they are', async () => {
    for (const announced of [{}, { size: 5000 }]) {
      const house = household()
      const file = { path: house.path, id: 'HEARD', created: TAKEN }
      await house.isAsked({ ...file, ...announced })
      await house.upload(GUEST, house.path, Buffer.from(`junk for ${house.path}`), { asset_id: 'HEARD' })
      expect((await house.verdict({ ...file, size: 5000 })).safe).toBe(false)
      expect((await house.verdict({ ...file, sha256: sha256(photoOf('his own')) })).safe).toBe(false)
      // Otherwise an id that came with the bytes is evidence.
      expect((await house.verdict(file)).safe).toBe(announced.size === undefined)
    }
  })

  it('nothing for a date that came with the bytes, and is not in them', async () => {
    const house = household()
    const bytes = png({ noExif: true, seed: 'undated' })
    await house.upload(PHONE, house.path, bytes, { created: String(TAKEN) })
    const file = { path: house.path, created: TAKEN, size: bytes.length }
    expect(await house.isAsked(file)).toBe(false)
    expect(await house.verdict(file)).toMatchObject({ safe: false, reason: 'not_identified' })
  })
})

describe('what a phone has announced', () => {
  it('is shown to nobody else, be it waiting or failed; how many there are is', async () => {
    const house = household()
    const file = { path: house.path, id: 'SECRET-ID', created: TAKEN }
    await house.isAsked(file)
    expect(await house.log('status=Pending', PHONE)).toMatchObject({
      total: 1,
      backups: [{ original_path: house.path }],
    })
    for (const from of [GUEST, '127.0.0.1']) {
      expect(await house.log('status=Pending', from)).toMatchObject({ total: 1, count: 0, backups: [] })
      expect((await house.verdict({ path: house.path }, from)).reason).toBe('not_backed_up')
    }
    await house.upload(PHONE, house.path, photoOf('damaged'), { sha256: '0'.repeat(64) })
    expect((await house.log('status=Failed', PHONE)).backups).toHaveLength(1)
    for (const query of ['', 'status=Failed', 'status=Pending', 'status=Completed']) {
      expect(await house.log(query, GUEST)).toMatchObject({ count: 0 })
    }
    for (const path of [
      '/backup/log?limit=1000',
      '/backup/history',
      '/photos/ignored',
      '/library/health',
      '/metrics',
    ]) {
      const { text } = await send(server, { path, from: GUEST })
      expect(text).not.toContain(house.path)
      expect(text).not.toContain('SECRET-ID')
    }
  })

  it('is not told to who ignores its path', async () => {
    const house = household()
    await house.isAsked({ path: house.path, id: 'SECRET-ID', created: TAKEN })
    await house.list(GUEST, '/photos/ignore', [{ path: house.path }])
    await house.list(PHONE, '/photos/ignore', [{ path: `${house.path}2`, id: 'SECRET-ID' }])
    const query = `/photos/ignored?device_id=${encodeURIComponent(house.model)}`
    const seen = async (from: string) => (await send(server, { path: query, from })).body.ignored_files
    expect((await seen(GUEST)).map((file: { asset_id: string | null }) => file.asset_id)).toEqual([null, null])
    expect((await seen(PHONE)).map((file: { asset_id: string | null }) => file.asset_id)).toEqual(['SECRET-ID', null])
  })
})

describe('a guest who ignores a phone’s photos', () => {
  it('does not keep them from being asked for, whatever he knows but their ids', async () => {
    const house = household()
    const file = { path: house.path, id: 'A', created: TAKEN }
    await house.isAsked(file)
    const guesses = [
      { path: house.path },
      { path: house.path, created: TAKEN },
      { path: house.path, created: TAKEN, size: 7 },
      { path: house.path, id: 'B' },
    ]
    await house.list(GUEST, '/photos/ignore', guesses)
    for (const entry of [file, { path: house.path, created: TAKEN }, { path: house.path }]) {
      const answer = await house.list(PHONE, '/photos/new', [entry])
      expect(answer).toMatchObject({ count: 1, ignored_files: [], backed_up_count: 0 })
      expect((await house.verdict(entry)).reason).toBe('pending')
    }
    // What the phone itself ignores is, under any address of it, and never safe.
    await house.list(PHONE, '/photos/ignore', [file])
    for (const from of [PHONE, PHONE_LATER]) {
      const answer = await house.list(from, '/photos/new', [file])
      expect(answer).toMatchObject({ count: 0, ignored_files: [file], backed_up_count: 0 })
      expect(await house.verdict(file, from)).toMatchObject({ safe: false, reason: 'ignored' })
    }
    // Anybody may take that back: it is asked for then.
    await house.list(GUEST, '/photos/unignore', [{ path: house.path }])
    expect(await house.isAsked(file)).toBe(true)
  })

  it('does not learn the id of one whose size and date the log tells him, nor ignores it for the phone', async () => {
    const house = household()
    const file = { path: house.path, id: 'SECRET-ID', created: TAKEN }
    await house.isAsked(file)
    expect((await house.upload(PHONE, house.path, photoOf(house.model))).status).toBe(201)
    const [row] = (await house.log('status=Completed', GUEST)).backups
    const entry = { path: row.original_path, size: row.file_size, created: row.captured_at }
    await house.list(GUEST, '/photos/ignore', [entry])
    const query = `/photos/ignored?device_id=${encodeURIComponent(house.model)}`
    const { body } = await send(server, { path: query, from: GUEST })
    expect(body.ignored_files.map((ignored: { asset_id: string | null }) => ignored.asset_id)).toEqual([null])
    const answer = await house.list(PHONE, '/photos/new', [file])
    expect(answer).toMatchObject({ count: 0, ignored_files: [], backed_up_count: 1 })
  })

  it('does not end the alarm about one that is lost', async () => {
    const house = household()
    const file = { path: house.path, id: 'A', created: TAKEN }
    await house.isAsked(file)
    const { body } = await house.upload(PHONE, house.path, photoOf('to be lost'))
    await rm(join(server.library, body.backup.file_path))
    expect((await house.verdict({ ...file, sha256: body.backup.sha256 })).reason).toBe('missing')
    const isAlarmed = async () => {
      const { body: health } = await get(server.url, '/library/health')
      return health.problems.some(({ key }: { key: string }) => key === 'findings:missing')
    }
    await until('the loss is an alarm', isAlarmed)
    await house.list(GUEST, '/photos/ignore', [
      { path: house.path },
      { path: house.path, created: TAKEN },
      { path: house.path, created: TAKEN, size: body.backup.file_size },
    ])
    await post(server.url, '/photos/ignore', { device_id: house.model, files: [{ path: house.path }] })
    expect(await isAlarmed()).toBe(true)
    await house.list(PHONE, '/photos/ignore', [file])
    await until('it is over', async () => !(await isAlarmed()))
  })
})
