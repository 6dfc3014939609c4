import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { heic, jpeg, mov } from '../support/media.ts'
import { makeFolder, startServer, type TestServer } from '../support/server.ts'
import { makePhone } from '../support/wire.ts'

let server: TestServer
let count = 0
const seed = () => `relatives ${count++}`

beforeAll(async () => {
  server = await startServer(await makeFolder(), { TZ: 'Europe/Berlin' })
})

const FOLDER = 'file:///var/mobile/Media/DCIM/100APPLE'
const exif = (date: string) => date.replaceAll('-', ':').replace('T', ' ')
const still = (date: string, contentId?: string) =>
  heic({ date: exif(date), offset: '+02:00', seed: seed(), ...(contentId !== undefined && { contentId }) })
const movie = (date: string, contentId?: string) =>
  mov({ creationDate: `${date}+0200`, seed: seed(), ...(contentId !== undefined && { contentId }) })
const edits = () => Buffer.from(`<?xml version="1.0"?><plist version="1.0"><!-- ${seed()} --></plist>`)

const baseOf = (path: string) => path.replace(/\.[A-Z]+$/, '')

interface Sent {
  device?: string
  path?: string
  fields?: Record<string, string>
}

/** Uploads and returns where it lies. */
async function send(name: string, bytes: Buffer, { device = 'iPhone', path, fields = {} }: Sent = {}): Promise<string> {
  const { status, body } = await makePhone(server, device).upload(bytes, {
    name,
    fields: { ...(path !== undefined && { original_path: path }), ...fields },
  })
  expect(status).toBe(201)
  return body.backup.file_path
}

describe('the halves of a Live Photo that came without paths', () => {
  it.each(['still', 'movie'])('share a base name by their content identifier, the %s first', async (first) => {
    const name = `IMG_${first}`
    // Others have the name already, and one of them is a movie without a still.
    await send(`${name}.HEIC`, still('2021-03-05T12:00:00', randomUUID()))
    await send(`${name}.MOV`, movie('2021-03-06T12:00:00', randomUUID()))
    await send(`${name}.MOV`, movie('2021-03-06T12:00:00', randomUUID()))
    const id = randomUUID().toUpperCase()
    const halves = [
      [`${name}.HEIC`, still('2021-03-07T12:00:00', id)],
      [`${name}.MOV`, movie('2021-03-07T12:00:01', id)],
    ] as const
    const placed: string[] = []
    for (const [file, bytes] of first === 'still' ? halves : halves.toReversed()) placed.push(await send(file, bytes))
    expect(new Set(placed.map(baseOf)).size).toBe(1)
  })

  it('lie in the still’s month', async () => {
    const id = randomUUID().toUpperCase()
    expect(await send('A.HEIC', still('2021-06-30T23:59:59', id))).toBe('2021/06/A.HEIC')
    expect(await send('other.MOV', movie('2021-07-01T00:00:01', id))).toBe('2021/06/A.MOV')
  })

  it('find each other under different paths and on different devices', async () => {
    const id = randomUUID().toUpperCase()
    const path = (file: string) => `file:///private/var/tmp/${randomUUID()}/${file}`
    expect(await send('B.HEIC', still('2021-05-01T12:00:00', id), { path: path('B.HEIC') })).toBe('2021/05/B.HEIC')
    const sent = { device: 'iPad', path: path('export.MOV') }
    expect(await send('export.MOV', movie('2021-05-01T12:00:01', id), sent)).toBe('2021/05/B.MOV')
  })

  it('find each other when both arrive at the same moment, many at once', async () => {
    const pairs = Array.from({ length: 12 }, async () => {
      const id = randomUUID().toUpperCase()
      const both = [send('C.MOV', movie('2021-08-01T12:00:01', id)), send('C.HEIC', still('2021-08-01T12:00:00', id))]
      return Promise.all(both)
    })
    const bases = (await Promise.all(pairs)).map((placed) => placed.map(baseOf))
    for (const [movieBase, stillBase] of bases) expect(movieBase).toBe(stillBase)
    expect(new Set(bases.flat()).size).toBe(12)
  })

  it('are not taken for halves by their paths if their identifiers differ', async () => {
    const path = (file: string) => `${FOLDER}/${file}`
    await send('D.HEIC', still('2021-09-30T23:59:59', randomUUID()), { path: path('D.HEIC') })
    const other = movie('2021-10-01T00:00:01', randomUUID())
    expect(await send('D.MOV', other, { path: path('D.MOV') })).toBe('2021/10/D.MOV')
  })
})

describe('the halves of an edited Live Photo and of its original', () => {
  it('go with those of their own names, though all have one content identifier', async () => {
    const id = randomUUID().toUpperCase()
    const place = (file: string) => ({ device: 'edited', path: `${FOLDER}/${file}` })
    for (const name of ['IMG_0050.HEIC', 'IMG_E0050.HEIC'])
      await send(name, still('2021-10-10T12:00:00', id), place(name))
    for (const name of ['IMG_0050.MOV', 'IMG_E0050.MOV'])
      expect(await send(name, movie('2021-10-10T12:00:00', id), place(name))).toBe(`2021/10/${name}`)
  })
})

describe('a content identifier', () => {
  it('is known after the database was rebuilt from the drive', async () => {
    const first = await startServer(await makeFolder())
    const id = randomUUID().toUpperCase()
    const options = { name: 'R.HEIC', fields: {} }
    await makePhone(first, 'iPhone').upload(still('2021-05-01T12:00:00', id), options)
    await first.stop()
    const again = { UPLOAD_FOLDER: first.library, AUTO_REBUILD: 'true' }
    const second = await startServer(await makeFolder(), again)
    const { body } = await makePhone(second, 'iPhone').upload(movie('2021-06-01T12:00:00', id), { name: 'x.MOV' })
    expect(body.backup.file_path).toBe('2021/05/R.MOV')
  })
})

describe('a movie that comes first', () => {
  it('goes to the month where its still was announced, by another clock than its own', async () => {
    const phone = makePhone(server, 'first')
    const taken = Date.parse('2012-06-30T22:00:00Z')
    await phone.offer({ path: `${FOLDER}/F.HEIC`, id: 'F', name: 'F.HEIC', created: taken })
    // Its own clock tells UTC, two seconds earlier.
    const bytes = mov({ mvhd: new Date('2012-06-30T21:59:58Z'), seed: seed() })
    const place = { device: 'first', path: `${FOLDER}/F.MOV` }
    expect(await send('F.MOV', bytes, place)).toBe('2012/07/F.MOV')
    const photo = heic({ date: '2012:07:01 00:00:00', offset: '+02:00', seed: seed() })
    expect(await send('F.HEIC', photo, { device: 'first', path: `${FOLDER}/F.HEIC` })).toBe('2012/07/F.HEIC')
  })

  it('goes there also where an older photo without an id had the name', async () => {
    const place = (file: string) => ({ device: 'again', path: `${FOLDER}/${file}` })
    await send('G.HEIC', still('2010-01-10T12:00:00'), place('G.HEIC'))
    const taken = Date.parse('2012-06-30T22:00:00Z')
    await makePhone(server, 'again').offer({ path: `${FOLDER}/G.HEIC`, name: 'G.HEIC', created: taken })
    expect(await send('G.MOV', movie('2012-06-30T23:59:59'), place('G.MOV'))).toBe('2012/07/G.MOV')
    expect(await send('G.HEIC', still('2012-07-01T00:00:00'), place('G.HEIC'))).toBe('2012/07/G.HEIC')
  })
})

describe('a list of edits (AAE)', () => {
  const place = (device: string, file: string) => ({ device, path: `${FOLDER}/${file}` })

  it('lies beside its photo, in whatever month that lies', async () => {
    const device = 'edits 1'
    await send('IMG_0042.HEIC', still('2011-04-05T12:00:00'), place(device, 'IMG_0042.HEIC'))
    const created = { fields: { created: String(Date.parse('2019-01-01T12:00:00Z')) } }
    const sent = { ...place(device, 'IMG_0042.AAE'), ...created }
    expect(await send('IMG_0042.AAE', edits(), sent)).toBe('2011/04/IMG_0042.AAE')
    const original = { ...place(device, 'IMG_O0042.AAE'), ...created }
    expect(await send('IMG_O0042.AAE', edits(), original)).toBe('2011/04/IMG_O0042.AAE')
  })

  it('lies beside its video', async () => {
    await send('V.MOV', movie('2011-07-05T12:00:00'), place('edits 2', 'V.MOV'))
    expect(await send('V.AAE', edits(), place('edits 2', 'V.AAE'))).toBe('2011/07/V.AAE')
  })

  it('is numbered as its photo is', async () => {
    for (const device of ['edits 3', 'edits 4']) {
      const photo = await send('N.JPG', jpeg({ date: '2011:05:05 12:00:00', seed: seed() }), place(device, 'N.JPG'))
      if (device === 'edits 3') continue
      expect(photo).toBe('2011/05/N (2).JPG')
      expect(await send('N.AAE', edits(), place(device, 'N.AAE'))).toBe('2011/05/N (2).AAE')
    }
    const photo = await send('IMG_7.JPG', jpeg({ date: '2011:05:05 12:00:00', seed: seed() }), place('a', 'IMG_7.JPG'))
    const second = jpeg({ date: '2011:05:05 12:00:00', seed: seed() })
    expect([photo, await send('IMG_7.JPG', second, place('b', 'IMG_7.JPG'))]).toEqual([
      '2011/05/IMG_7.JPG',
      '2011/05/IMG_7 (2).JPG',
    ])
    expect(await send('IMG_O7.AAE', edits(), place('b', 'IMG_O7.AAE'))).toBe('2011/05/IMG_O7 (2).AAE')
  })

  it('goes where its photo was announced, and takes no name from its halves', async () => {
    const device = 'edits 5'
    const created = Date.parse('2011-11-05T12:00:00Z')
    await makePhone(server, device).offer(
      { path: `${FOLDER}/L.HEIC`, id: 'L', name: 'L.HEIC', created },
      { path: `${FOLDER}/L.MOV`, id: 'L', name: 'L.MOV', created },
    )
    expect(await send('L.AAE', edits(), place(device, 'L.AAE'))).toBe('2011/11/L.AAE')
    expect(await send('L.MOV', movie('2011-11-05T13:00:00'), place(device, 'L.MOV'))).toBe('2011/11/L.MOV')
    expect(await send('L.HEIC', still('2011-11-05T13:00:00'), place(device, 'L.HEIC'))).toBe('2011/11/L.HEIC')
  })
})
