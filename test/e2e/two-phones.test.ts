import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jpeg, mov, png } from '../support/media.ts'
import { formOf, get } from '../support/phone.ts'
import { fc } from '../support/property.ts'
import { rounds } from '../support/rounds.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'
import { dial, makePhone, send } from '../support/wire.ts'

const MODEL = 'iPhone 16 Pro'
const DAY = 86_400_000

let server: TestServer

beforeAll(async () => {
  server = await startServer(await makeFolder())
})

afterAll(async () => {
  await server.stop()
  await removeFolder(server.folder)
})

const path = (name: string) => `file:///var/mobile/Media/DCIM/100APPLE/${name}`
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const photo = (date: string, seed: string) => jpeg({ date, offset: '+02:00', seed })
/** The instant that `photo` of this date shows, in ms. */
const taken = (date: string) => Date.parse(`${date.slice(0, 10).replaceAll(':', '-')}T${date.slice(11)}+02:00`)

const rows = async (query: string) => (await get(server.url, `/backup/log?limit=1000&${query}`)).body.backups
/** Rows of one path, of any status, as shown to that address. */
async function rowsOf(original: string, status?: string, from = '127.0.0.1') {
  const rows = async (query: string) =>
    (await send(server, { path: `/backup/log?limit=1000&${query}`, from })).body.backups
  const all =
    status === undefined ? [...(await rows('')), ...(await rows('status=Pending'))] : await rows(`status=${status}`)
  return all.filter((row: { original_path: string }) => row.original_path === original)
}

describe('two phones of one model', () => {
  const her = '127.0.0.2'
  const his = '127.0.0.3'
  const june = '2024:06:10 12:00:00'
  const july = '2024:07:20 12:00:00'

  it('each get both their photos home, though both call them by one path', async () => {
    const [hers, theirs] = [makePhone(server, MODEL, her), makePhone(server, MODEL, his)]
    const name = 'IMG_0001.JPG'
    const hersFile = { path: path(name), id: 'HERS', name, created: taken(june) }
    const hisFile = { path: path(name), id: 'HIS', name, created: taken(july) }
    expect((await hers.offer(hersFile)).new_files).toEqual([hersFile])
    expect((await theirs.offer(hisFile)).new_files).toEqual([hisFile])
    const upload = { name, fields: { original_path: path(name), file_type: 'photo' } }
    const herBytes = photo(june, 'hers')
    const hisBytes = photo(july, 'his')
    expect((await hers.upload(herBytes, upload)).status).toBe(201)
    // Hers is there; his is not, though device and path are the same.
    expect(await hers.offer(hersFile)).toMatchObject({ count: 0, backed_up_count: 1 })
    expect(await theirs.offer(hisFile)).toMatchObject({ count: 1, backed_up_count: 0 })
    expect((await theirs.upload(hisBytes, upload)).status).toBe(201)
    expect(await theirs.offer(hisFile)).toMatchObject({ count: 0, backed_up_count: 1 })
    expect(await hers.offer(hersFile)).toMatchObject({ count: 0, backed_up_count: 1 })
    expect((await readFile(join(server.library, '2024/06', name))).equals(herBytes)).toBe(true)
    expect((await readFile(join(server.library, '2024/07', name))).equals(hisBytes)).toBe(true)
  })

  it('are told apart by where the announced one was announced from, whoever lists first', async () => {
    const name = 'IMG_0002.JPG'
    // Both were taken at the same moment: only the address tells.
    for (const [first, second] of [
      [her, his],
      [his, her],
    ] as const) {
      const file = (from: string) => ({ path: path(`${first}-${name}`), id: `${first} ${from}`, created: taken(june) })
      const phones = { [her]: makePhone(server, MODEL, her), [his]: makePhone(server, MODEL, his) }
      await phones[first]?.offer(file(first))
      await phones[second]?.offer(file(second))
      await phones[first]?.upload(photo(june, `at ${first}`), { fields: { original_path: path(`${first}-${name}`) } })
      expect(await phones[first]?.offer(file(first))).toMatchObject({ count: 0 })
      expect(await phones[second]?.offer(file(second))).toMatchObject({ count: 1 })
    }
  })

  it('behind one address are told apart by which created fits the capture date', async () => {
    const phone = makePhone(server, MODEL, her)
    const name = 'IMG_0003.JPG'
    const juneFile = { path: path(name), id: 'J6', created: taken(june) + 1000.5 }
    const julyFile = { path: path(name), id: 'J7', created: taken(july) }
    await phone.offer(juneFile, julyFile)
    await phone.upload(photo(june, 'J6'), { name, fields: { original_path: path(name) } })
    expect((await phone.offer(juneFile, julyFile)).new_files).toEqual([julyFile])
    await phone.upload(photo(july, 'J7'), { name, fields: { original_path: path(name) } })
    expect(await phone.offer(juneFile, julyFile)).toMatchObject({ count: 0, backed_up_count: 2 })
  })

  it('that send asset_id are told apart by it, from whatever address and whatever the date', async () => {
    const phone = makePhone(server, MODEL, her)
    const other = makePhone(server, MODEL, his)
    const name = 'IMG_0004.JPG'
    const one = { path: path(name), id: 'A4', created: taken(june) }
    const two = { path: path(name), id: 'B4', created: taken(june) }
    await phone.offer(one)
    await other.offer(two)
    await other.upload(photo(june, 'A4'), { name, fields: { original_path: path(name), asset_id: 'A4' } })
    expect(await phone.offer(one)).toMatchObject({ count: 0 })
    expect(await other.offer(two)).toMatchObject({ count: 1 })
  })

  it('both keep what they have when the one sends again what the other has listed since', async () => {
    const [hers, theirs] = [makePhone(server, MODEL, her), makePhone(server, MODEL, his)]
    const name = 'IMG_0005.JPG'
    const hersFile = { path: path(name), id: 'H5', created: taken(june) }
    const hisFile = { path: path(name), id: 'M5', created: taken(july) }
    const upload = { name, fields: { original_path: path(name) } }
    await hers.offer(hersFile)
    await hers.upload(photo(june, 'H5'), upload)
    await theirs.offer(hisFile)
    expect((await hers.upload(photo(june, 'H5'), upload)).status).toBe(200)
    expect(await theirs.offer(hisFile)).toMatchObject({ count: 1 })
    expect(await hers.offer(hersFile)).toMatchObject({ count: 0 })
  })

  it('lose nothing though neither knows when its photo was taken and their addresses change', async () => {
    const name = 'IMG_0006.PNG'
    const [a, b] = [png({ noExif: true, seed: 'a6' }), png({ noExif: true, seed: 'b6' })]
    const file = (id: string) => ({ path: path(name), id })
    const upload = { name, fields: { original_path: path(name) } }
    const turns = [
      { from: '127.0.0.11', id: 'A6', bytes: a },
      { from: '127.0.0.12', id: 'B6', bytes: b },
    ]
    // Each phone asks and sends what it is asked for, until neither is asked any more.
    for (let round = 0; round < 4; round++) {
      for (const { from, id, bytes } of turns) {
        const { count } = await makePhone(server, MODEL, `${from}`).offer(file(id))
        if (count > 0) await makePhone(server, MODEL, `${from}${round}`).upload(bytes, upload)
      }
    }
    for (const bytes of [a, b]) {
      const { body } = await get(server.url, '/backup/log?limit=1000')
      expect(body.backups.some((row: { sha256: string }) => row.sha256 === sha256(bytes))).toBe(true)
    }
  })

  it('keep the asset id of what is known when a list without ids comes in between', async () => {
    const phone = makePhone(server, MODEL, her)
    const name = 'IMG_0007.JPG'
    const bytes = photo(june, 'known 7')
    const upload = { name, fields: { original_path: path(name) } }
    await phone.offer({ path: path(name), id: 'A7', created: taken(june), modified: 1 })
    await phone.upload(bytes, upload)
    await phone.offer({ path: path(name), created: taken(june), modified: 2 })
    expect((await phone.upload(bytes, upload)).status).toBe(200)
    // The other phone's photo of the same hour under the same path: only the id tells them apart.
    expect(await phone.offer({ path: path(name), id: 'B7', created: taken(june) + 1000 })).toMatchObject({ count: 1 })
    expect(await phone.offer({ path: path(name), id: 'A7', created: taken(june) })).toMatchObject({ count: 0 })
  })
})

describe('no sequence of sessions of two phones', () => {
  interface Session {
    phone: number
    asset: number
    /** Phones get other addresses now and then, even each other's. */
    from: string
    does: string
    says: string
  }
  const session: fc.Arbitrary<Session> = fc.record({
    phone: fc.constantFrom(0, 1),
    asset: fc.constantFrom(0, 1),
    from: fc.constantFrom('127.0.0.51', '127.0.0.52'),
    does: fc.constantFrom('send', 'send', 'send damaged', 'leave', 'send twice', 'send again later'),
    says: fc.constantFrom('everything', 'no name', 'an asset id'),
  })
  let household = 0

  it('makes the server say "backed up" of a photo that has not arrived, or ask for ever', async () => {
    const sequence = fc.array(session, { minLength: 4, maxLength: 14 })
    const property = fc.asyncProperty(sequence, fc.boolean(), async (sessions, areDated) => {
      household += 1
      const model = `model ${household}`
      // Two paths; under each, either phone has a photo of its own, taken weeks apart.
      const assets = [0, 1].map((asset) =>
        [0, 1].map((phone) => {
          const date = `2024:0${1 + asset}:${phone === 0 ? '03' : '25'} 12:00:00`
          return {
            file: { path: path(`H${asset}.JPG`), id: `${phone}-${asset}`, name: `H${asset}.JPG`, created: taken(date) },
            bytes: areDated
              ? photo(date, `${household} ${phone} ${asset}`)
              : png({ noExif: true, seed: `${household} ${phone} ${asset}` }),
            hasArrived: false,
          }
        }),
      )
      const turn = async ({ phone, asset, from, does, says }: Session) => {
        const mine = assets[asset]?.[phone]
        if (mine === undefined) throw new Error('no such asset')
        // Without a date in the bytes only addresses can tell two phones apart, as long as each keeps its own.
        const voice = makePhone(server, model, areDated ? from : `127.0.0.6${phone}`)
        const { count } = await voice.offer(mine.file)
        if (count === 0) expect(mine.hasArrived).toBe(true)
        if (does === 'leave' || (count === 0 && does !== 'send again later')) return count
        if (count > 0 && does === 'send again later' && !mine.hasArrived) return count
        const fields = {
          original_path: mine.file.path,
          ...(says === 'an asset id' && { asset_id: mine.file.id }),
          ...(does === 'send damaged' && { sha256: 'f'.repeat(64) }),
        }
        const options = { name: says === 'no name' ? null : mine.file.name, fields }
        for (let times = does === 'send twice' ? 2 : 1; times > 0; times--) {
          const { status } = await voice.upload(mine.bytes, options)
          if (does === 'send damaged') expect(status).toBe(422)
          else mine.hasArrived = true
        }
        return count
      }
      for (const each of sessions) await turn(each)
      // Sessions in which all goes well: after two each, nobody is asked for anything any more.
      const all = [0, 1].flatMap((phone) => [0, 1].map((asset) => ({ phone, asset })))
      for (const [round, from] of ['127.0.0.51', '127.0.0.52', '127.0.0.51'].entries()) {
        for (const each of all) {
          const count = await turn({ ...each, from, does: 'send', says: 'everything' })
          if (round === 2) expect(count).toBe(0)
        }
      }
      // Each content lies there once.
      const { body } = await get(server.url, `/backup/log?limit=1000&device_id=${encodeURIComponent(model)}`)
      for (const { bytes } of assets.flat()) {
        const paths = body.backups.flatMap((row: { sha256: string; file_path: string }) =>
          row.sha256 === sha256(bytes) ? [row.file_path] : [],
        )
        expect(new Set(paths).size).toBe(1)
        expect((await readFile(join(server.library, paths[0]))).equals(bytes)).toBe(true)
      }
    })
    await fc.assert(property, { numRuns: rounds(25) })
  })
})

describe('what was announced', () => {
  const phone = () => makePhone(server, 'announcer')

  it('is remembered as Pending with what the phone said, once', async () => {
    const file = { path: path('P1.JPG'), id: 'P1', name: 'P1.JPG', size: 1234, type: 'video', created: 1719828000000 }
    await phone().offer(file)
    await phone().offer(file)
    const pending = await rowsOf(path('P1.JPG'), 'Pending')
    expect(pending).toEqual([
      expect.objectContaining({
        status: 'Pending',
        file_name: 'P1.JPG',
        file_size: 1234,
        file_type: 'video',
        file_path: null,
        device_id: 'announcer',
        sha256: null,
      }),
    ])
    expect(await rowsOf(path('P1.JPG'), 'Completed')).toEqual([])
  })

  it('becomes the completed row, and no second one', async () => {
    const file = { path: path('P2.JPG'), id: 'P2', created: taken('2024:07:01 10:00:00') }
    await phone().offer(file)
    const [pending] = await rowsOf(path('P2.JPG'), 'Pending')
    const { body } = await phone().upload(photo('2024:07:01 10:00:00', 'P2'), {
      fields: { original_path: path('P2.JPG') },
    })
    expect(body.backup.id).toBe(pending.id)
    expect(await rowsOf(path('P2.JPG'))).toHaveLength(1)
  })

  it('is remembered once, however many lists name it at the same moment', async () => {
    const file = { path: path('P3.JPG'), id: 'P3', created: 1 }
    await Promise.all(Array.from({ length: 20 }, (_, index) => phone().offer({ ...file, created: index })))
    expect(await rowsOf(path('P3.JPG'))).toHaveLength(1)
  })

  it('does not count as backed up, in the totals either', async () => {
    const before = (await get(server.url, '/storage/status')).body.backups
    await phone().offer({ path: path('P4.JPG'), size: 1_000_000 })
    expect((await get(server.url, '/storage/status')).body.backups).toEqual(before)
  })

  it('is completed by an upload of the same path whatever the fragment on either', async () => {
    const file = (fragment: string) => ({
      path: `${path('P5.JPG')}#${fragment}`,
      id: 'P5',
      created: taken('2024:07:01 10:00:00'),
    })
    await phone().offer(file('YnBsaXN0MDDRAQJf'))
    await phone().upload(photo('2024:07:01 10:00:00', 'P5'), { fields: { original_path: `${path('P5.JPG')}#other` } })
    expect(await phone().offer(file('iOS19'))).toMatchObject({ count: 0, backed_up_count: 1 })
    expect(await phone().offer({ ...file(''), path: path('P5.JPG') })).toMatchObject({ count: 0 })
    // Kept as it was sent.
    expect((await rows('device_id=announcer'))[0].original_path).toBe(`${path('P5.JPG')}#other`)
  })

  it('is compared with its # where the path is no file: URL', async () => {
    const bytes = photo('2024:07:01 10:00:00', 'P6')
    await phone().upload(bytes, { name: 'P6.JPG', fields: { original_path: '/DCIM/a#1/P6.JPG' } })
    expect(await phone().offer({ path: '/DCIM/a#1/P6.JPG' })).toMatchObject({ count: 0 })
    expect(await phone().offer({ path: '/DCIM/a#2/P6.JPG' })).toMatchObject({ count: 1 })
  })
})

describe('a path is backed up', () => {
  const phone = (device = 'rules') => makePhone(server, device)
  const date = '2024:07:01 10:00:00'

  /** Announces and uploads a photo under `name`; what else the list says is in `said`. */
  async function backUp(name: string, said: object, fields: Record<string, string> = {}) {
    const bytes = photo(date, name)
    if ('id' in said || 'modified' in said || 'size' in said)
      await phone().offer({ path: path(name), created: taken(date), ...said })
    const answer = await phone().upload(bytes, { name, fields: { original_path: path(name), ...fields } })
    expect(answer.status).toBe(201)
    return bytes
  }
  const isAsked = async (file: object) => (await phone().offer(file)).count === 1

  it('for the asset it was completed for, not for another id', async () => {
    await backUp('R1.JPG', { id: 'R1' })
    expect(await isAsked({ path: path('R1.JPG'), id: 'R1' })).toBe(false)
    expect(await isAsked({ path: path('R1.JPG'), id: 'R1b' })).toBe(true)
  })

  it('for an entry without id on the path alone, unless created is more than a day off', async () => {
    await backUp('R2.JPG', { id: 'R2' })
    expect(await isAsked({ path: path('R2.JPG') })).toBe(false)
    expect(await isAsked({ path: path('R2.JPG'), id: null, created: taken(date) + DAY - 1 })).toBe(false)
    expect(await isAsked({ path: path('R2.JPG'), id: null, created: taken(date) + 400 * DAY })).toBe(true)
  })

  it('for another device not at all', async () => {
    await backUp('R3.JPG', {})
    expect((await phone('another').offer({ path: path('R3.JPG'), created: taken(date) })).count).toBe(1)
  })

  it('where the row has no id on the path alone, unless created is more than a day off', async () => {
    await backUp('R4.JPG', {})
    expect(await isAsked({ path: path('R4.JPG'), id: 'any' })).toBe(false)
    expect(await isAsked({ path: path('R4.JPG'), id: 'any', created: taken(date) + DAY - 1 })).toBe(false)
    expect(await isAsked({ path: path('R4.JPG'), id: 'any', created: taken(date) - DAY + 1 })).toBe(false)
    expect(await isAsked({ path: path('R4.JPG'), id: 'any', created: taken(date) + DAY + 1 })).toBe(true)
    expect(await isAsked({ path: path('R4.JPG'), id: 'any', created: taken(date) - DAY - 1 })).toBe(true)
    expect(await isAsked({ path: path('R4.JPG'), created: taken(date) + 2 * DAY })).toBe(true)
    // Zero is what clocks say that were never set.
    expect(await isAsked({ path: path('R4.JPG'), id: 'any', created: 0 })).toBe(false)
  })

  it('unless its size has changed, where both are known', async () => {
    const bytes = await backUp('R5.JPG', { id: 'R5', size: 4711 })
    const file = { path: path('R5.JPG'), id: 'R5' }
    expect(await isAsked({ ...file, size: 0 })).toBe(false)
    expect(await isAsked({ ...file, size: bytes.length })).toBe(false)
    expect(await isAsked({ ...file, size: 4711 })).toBe(false)
    expect(await isAsked({ ...file, size: bytes.length + 1 })).toBe(true)
  })

  it('unless it was modified, where both are known', async () => {
    await backUp('R6.JPG', { id: 'R6', modified: 1720000000000.25 })
    const file = { path: path('R6.JPG'), id: 'R6' }
    expect(await isAsked(file)).toBe(false)
    expect(await isAsked({ ...file, modified: 1720000000000.25 })).toBe(false)
    expect(await isAsked({ ...file, modified: 1720000000000.5 })).toBe(true)
  })

  it('again after a changed file has arrived, which is kept beside the old one', async () => {
    const first = await backUp('R7.JPG', { id: 'R7', modified: 1 })
    const changed = { path: path('R7.JPG'), id: 'R7', created: taken(date), modified: 2 }
    expect(await isAsked(changed)).toBe(true)
    const second = photo(date, 'R7 edited')
    const { body } = await phone().upload(second, { name: 'R7.JPG', fields: { original_path: path('R7.JPG') } })
    expect(body.backup.file_path).toBe('2024/07/R7 (2).JPG')
    expect(await isAsked(changed)).toBe(false)
    expect((await readFile(join(server.library, '2024/07/R7.JPG'))).equals(first)).toBe(true)
    expect((await readFile(join(server.library, '2024/07/R7 (2).JPG'))).equals(second)).toBe(true)
  })

  it('again after a file that was only touched has arrived, which is stored once', async () => {
    const bytes = await backUp('R8.JPG', { id: 'R8', modified: 1 })
    const touched = { path: path('R8.JPG'), id: 'R8', created: taken(date), modified: 2 }
    expect(await isAsked(touched)).toBe(true)
    const answer = await phone().upload(bytes, { name: 'R8.JPG', fields: { original_path: path('R8.JPG') } })
    expect(answer.status).toBe(200)
    expect(await isAsked(touched)).toBe(false)
    expect(await rowsOf(path('R8.JPG'))).toHaveLength(1)
  })

  it('with the content that its sha256 names, and not with another', async () => {
    const bytes = await backUp('R9.JPG', { id: 'R9' })
    const file = { path: path('R9.JPG'), id: 'R9' }
    expect(await isAsked({ ...file, sha256: sha256(bytes) })).toBe(false)
    expect(await isAsked({ ...file, sha256: sha256(bytes).toUpperCase(), size: 1, modified: 7 })).toBe(false)
    expect(await isAsked({ ...file, sha256: sha256(Buffer.from('x')) })).toBe(true)
  })
})

describe('sha256 in a list', () => {
  const date = '2024:09:01 10:00:00'

  it('of content that the library has records it for that device at once, without asking', async () => {
    const bytes = photo(date, 'known content')
    const first = await makePhone(server, 'first').upload(bytes, {
      name: 'K.JPG',
      fields: { original_path: path('K.JPG') },
    })
    const file = { path: path('OTHER.JPG'), id: 'O', name: 'OTHER.JPG', created: 1, modified: 3, sha256: sha256(bytes) }
    const second = makePhone(server, 'second')
    expect(await second.offer(file)).toMatchObject({ count: 0, new_files: [], backed_up_count: 1 })
    const [row] = await rows('device_id=second')
    expect(row).toMatchObject({
      status: 'Completed',
      file_name: 'OTHER.JPG',
      file_path: first.body.backup.file_path,
      file_size: bytes.length,
      file_type: 'photo',
      mime_type: 'image/jpeg',
      original_path: path('OTHER.JPG'),
      sha256: sha256(bytes),
      captured_at: first.body.backup.captured_at,
    })
    // Without the checksum it is the same file still.
    expect(await second.offer({ ...file, sha256: undefined })).toMatchObject({ count: 0 })
    expect(await rows('device_id=second')).toHaveLength(1)
  })

  it('completes the row that was waiting', async () => {
    const bytes = photo(date, 'waiting content')
    const phone = makePhone(server, 'waiter')
    const file = { path: path('W.JPG'), id: 'W' }
    await phone.offer(file)
    await makePhone(server, 'elsewhere').upload(bytes, { name: 'W.JPG' })
    expect(await phone.offer({ ...file, sha256: sha256(bytes) })).toMatchObject({ count: 0, backed_up_count: 1 })
    expect(await rowsOf(path('W.JPG'))).toEqual([expect.objectContaining({ status: 'Completed' })])
  })

  it('of a film records a film, whatever the list calls it', async () => {
    const film = mov({ creationDate: '2024-09-01T10:00:00+0200', seed: 'known film' })
    await makePhone(server, 'elsewhere').upload(film, { name: 'FILM.MOV' })
    const phone = makePhone(server, 'film')
    await phone.offer({ path: path('FILM.MOV'), id: 'waiting', type: 'photo' })
    await phone.offer(
      { path: path('FILM.MOV'), id: 'waiting', sha256: sha256(film) },
      { path: path('FILM2.MOV'), sha256: sha256(film) },
    )
    const recorded = await rows('device_id=film&status=Completed')
    expect(recorded.map((row: { file_type: string }) => row.file_type)).toEqual(['video', 'video'])
  })

  it('is recorded once, however many lists name it at the same moment', async () => {
    for (let round = 0; round < 5; round++) {
      const bytes = photo(date, `crowded content ${round}`)
      await makePhone(server, 'elsewhere').upload(bytes, { name: 'CROWD.JPG' })
      const phone = makePhone(server, `crowd ${round}`)
      const files = Array.from({ length: 30 }, (_, index) => ({
        path: path(`C${index}.JPG`),
        id: `c${index}`,
        sha256: sha256(bytes),
      }))
      await Promise.all(Array.from({ length: 12 }, () => phone.offer(...files)))
      expect(await rows(`device_id=crowd%20${round}`)).toHaveLength(30)
    }
  })

  it('of content that the library does not have asks for it', async () => {
    const file = { path: path('N.JPG'), sha256: sha256(Buffer.from('nobody has this')) }
    expect(await makePhone(server, 'asker').offer(file)).toMatchObject({ count: 1 })
  })

  it('of content that has gone from the drive asks for it, and the upload restores it', async () => {
    const { rm } = await import('node:fs/promises')
    const bytes = photo(date, 'gone content')
    const phone = makePhone(server, 'restorer')
    const { body } = await phone.upload(bytes, { name: 'GONE.JPG', fields: { original_path: path('GONE.JPG') } })
    await rm(join(server.library, body.backup.file_path))
    const file = { path: path('GONE2.JPG'), sha256: sha256(bytes) }
    expect(await phone.offer(file)).toMatchObject({ count: 1 })
    await phone.upload(bytes, { name: 'GONE2.JPG', fields: { original_path: file.path } })
    expect((await readFile(join(server.library, body.backup.file_path))).equals(bytes)).toBe(true)
    expect(await phone.offer(file)).toMatchObject({ count: 0 })
  })
})

describe('a failed upload', () => {
  const device = 'failer'
  const failed = async (original: string, from?: string) => (await rowsOf(original, 'Failed', from))[0]

  it('with a wrong checksum is recorded with its reason and asked for again', async () => {
    const phone = makePhone(server, device)
    const file = { path: path('F1.JPG'), id: 'F1', created: taken('2024:07:01 10:00:00') }
    const bytes = photo('2024:07:01 10:00:00', 'F1')
    await phone.offer(file)
    const fields = { original_path: path('F1.JPG') }
    expect((await phone.upload(bytes, { fields: { ...fields, sha256: 'f'.repeat(64) } })).status).toBe(422)
    const row = await failed(path('F1.JPG'))
    expect(row.failure).toMatch(/SHA-256/)
    expect(await rowsOf(path('F1.JPG'), 'Pending')).toEqual([])
    expect(await phone.offer(file)).toMatchObject({ count: 1 })
    // One row all along: pending, failed, completed.
    const { body } = await phone.upload(bytes, { fields })
    expect(body.backup).toMatchObject({ id: row.id, status: 'Completed' })
    expect(body.backup).not.toHaveProperty('failure')
    expect(await rowsOf(path('F1.JPG'))).toHaveLength(1)
    expect(await phone.offer(file)).toMatchObject({ count: 0 })
  })

  it('whose connection broke before any field arrived is recorded, each time, and asked for again', async () => {
    const from = '127.0.0.21'
    const phone = makePhone(server, device, from)
    const name = 'F2.JPG'
    const file = { path: path(name), id: 'F2', created: taken('2024:07:01 10:00:00') }
    const bytes = jpeg({ date: '2024:07:01 10:00:00', offset: '+02:00', size: 300_000, seed: 'F2' })
    let last = ''
    for (let attempt = 0; attempt < 2; attempt++) {
      expect(await phone.offer(file)).toMatchObject({ count: 1 })
      const { body, contentType } = formOf(bytes, { name, fields: { original_path: path(name), device_id: device } })
      const socket = await dial(server, from)
      socket.write(
        `POST /photos/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${contentType}\r\nContent-Length: ${body.length}\r\n\r\n`,
      )
      socket.write(body.subarray(0, 150_000), () => socket.destroy())
      const row = await until('the lost upload is recorded', async () => {
        const found = await failed(path(name), from)
        return found !== undefined && found.timestamp !== last && found
      })
      expect(row.failure).toMatch(/connection was lost/)
      last = row.timestamp
    }
    expect((await phone.upload(bytes, { name, fields: { original_path: path(name) } })).status).toBe(201)
    expect(await rowsOf(path(name))).toEqual([expect.objectContaining({ status: 'Completed', file_size: 300_000 })])
  })

  it('that the drive refused is recorded with its reason and asked for again', async () => {
    // A file where the year's folder should be: the drive can't take this photo, and nothing else is wrong.
    await writeFile(join(server.library, '1999'), '')
    const phone = makePhone(server, device)
    const file = { path: path('F3.JPG'), id: 'F3', created: taken('1999:07:01 10:00:00') }
    await phone.offer(file)
    const answer = await phone.upload(photo('1999:07:01 10:00:00', 'F3'), { fields: { original_path: path('F3.JPG') } })
    expect(answer).toMatchObject({ status: 503, body: { status: 'error', code: 'drive_error' } })
    expect((await failed(path('F3.JPG'))).failure).toMatch(/drive/)
    expect(await phone.offer(file)).toMatchObject({ count: 1 })
  })

  it('of one phone leaves the other phone of its model alone', async () => {
    const [one, two] = [makePhone(server, MODEL, '127.0.0.31'), makePhone(server, MODEL, '127.0.0.32')]
    const file = (id: string) => ({ path: path('F4.JPG'), id, created: taken('2024:07:01 10:00:00') })
    await one.offer(file('one'))
    await two.offer(file('two'))
    await one.upload(photo('2024:07:01 10:00:00', 'F4'), {
      fields: { original_path: path('F4.JPG'), sha256: 'f'.repeat(64) },
    })
    expect(await rowsOf(path('F4.JPG'), 'Failed', '127.0.0.31')).toHaveLength(1)
    expect(await rowsOf(path('F4.JPG'), 'Pending', '127.0.0.32')).toHaveLength(1)
  })

  it('that nobody announced leaves no row', async () => {
    await makePhone(server, device).upload(photo('2024:07:01 10:00:00', 'F5'), {
      fields: { original_path: path('F5.JPG'), sha256: 'f'.repeat(64) },
    })
    expect(await rowsOf(path('F5.JPG'))).toEqual([])
  })
})
