import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { dng, heic, jpeg, mov, mp4, noise, png, tiff, webp } from '../support/media.ts'
import { upload } from '../support/phone.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { makePhone } from '../support/wire.ts'

let server: TestServer

beforeAll(async () => {
  // Berlin: UTC+1 in winter, UTC+2 in summer.
  server = await startServer(await makeFolder(), { TZ: 'Europe/Berlin' })
})

afterAll(async () => {
  await server.stop()
  await removeFolder(server.folder)
})

let count = 0
const seed = () => `place ${++count}`
const path = (name: string) => `file:///var/mobile/Media/DCIM/100APPLE/${name}`
const utc = (text: string) => new Date(text)

/** Uploads and returns the path that it got. */
async function place(bytes: Buffer, name: string, fields: Record<string, string> = {}): Promise<string> {
  const { status, body } = await upload(server.url, bytes, { name, fields })
  expect(status).toBe(201)
  expect((await readFile(join(server.library, body.backup.file_path))).equals(bytes)).toBe(true)
  return body.backup.file_path
}

describe('the month is that of capture, by the local time of where it was taken', () => {
  it.each([
    ['jpeg', jpeg],
    ['heic', heic],
    ['png', png],
    ['webp', webp],
    ['tiff', tiff],
    ['dng', dng],
  ] as const)('from EXIF in a %s, with an offset that other clocks put into another month', async (kind, make) => {
    const ahead = make({ date: '2023:01:01 00:30:00', offset: '+14:00', seed: seed() })
    expect(await place(ahead, `ahead.${kind}`)).toBe(`2023/01/ahead.${kind}`)
    const behind = make({ date: '2022:12:31 23:30:00', offset: '-11:00', seed: seed() })
    expect(await place(behind, `behind.${kind}`)).toBe(`2022/12/behind.${kind}`)
  })

  it('from EXIF without an offset, as the camera’s clock showed it', async () => {
    expect(await place(jpeg({ date: '2024:03:31 23:59:59', seed: seed() }), 'end.jpg')).toBe('2024/03/end.jpg')
    expect(await place(jpeg({ date: '2024:04:01 00:00:00', seed: seed() }), 'start.jpg')).toBe('2024/04/start.jpg')
  })

  it('not from a date that is years ahead, but also from the first hour of photography', async () => {
    const last = jpeg({ date: '9999:12:31 23:59:59', offset: '-11:00', seed: seed() })
    const created = String(Date.parse('2018-08-15T12:00:00Z'))
    expect(await place(last, 'last.jpg', { created })).toBe('2018/08/last.jpg')
    const first = jpeg({ date: '1826:01:01 00:00:00', offset: '+14:00', seed: seed() })
    expect(await place(first, 'first.jpg')).toBe('1826/01/first.jpg')
    const log = await fetch(`${server.url}/backup/log`)
    expect(log.status).toBe(200)
  })

  it('from QuickTime’s creation date before the movie header’s', async () => {
    const film = mov({ creationDate: '2023-06-30T23:30:00-0700', mvhd: utc('2023-07-01T06:30:00Z'), seed: seed() })
    expect(await place(film, 'creation.mov')).toBe('2023/06/creation.mov')
  })

  it('from the movie header in UTC by the clock of TZ', async () => {
    const summer = mp4({ mvhd: utc('2023-06-30T22:30:00Z'), seed: seed() })
    expect(await place(summer, 'summer.mp4')).toBe('2023/07/summer.mp4')
    const winter = mp4({ mvhd: utc('2023-11-30T22:30:00Z'), moovAtEnd: true, seed: seed() })
    expect(await place(winter, 'winter.mp4')).toBe('2023/11/winter.mp4')
  })

  it('from what the upload says, by the clock of TZ, where the bytes say nothing', async () => {
    const created = String(Date.parse('2021-04-30T22:30:00Z'))
    expect(await place(png({ noExif: true, seed: seed() }), 'said.png', { created })).toBe('2021/05/said.png')
    expect(await place(png({ noExif: true, seed: seed() }), 'half.png', { created: `${created}.75` })).toBe(
      '2021/05/half.png',
    )
    const iso = { created: '2021-02-28T23:30:00Z' }
    expect(await place(png({ noExif: true, seed: seed() }), 'iso.png', iso)).toBe('2021/03/iso.png')
  })

  it('from what the phone’s last list says of that path, where the upload says nothing', async () => {
    const phone = makePhone(server, 'lister')
    await phone.offer({ path: path('list.png'), id: '1', created: Date.parse('2019-01-15T12:00:00Z') })
    await phone.offer({ path: path('list.png'), id: '1', created: Date.parse('2019-02-15T12:00:00Z') })
    const { body } = await phone.upload(png({ noExif: true, seed: seed() }), {
      name: 'list.png',
      fields: { original_path: `${path('list.png')}#f` },
    })
    expect(body.backup).toMatchObject({ file_path: '2019/02/list.png', captured_at: '2019-02-15T12:00:00.000Z' })
  })

  it('from the bytes even where the phone says otherwise', async () => {
    const created = String(Date.parse('2001-01-15T12:00:00Z'))
    expect(await place(jpeg({ date: '2020:02:29 12:00:00', seed: seed() }), 'leap.jpg', { created })).toBe(
      '2020/02/leap.jpg',
    )
  })

  it.each([
    ['zeros', { date: '0000:00:00 00:00:00' }],
    ['blanks', { date: '    :  :     :  :  ' }],
    ['30 February', { date: '2024:02:30 12:00:00' }],
    ['month 13', { date: '2024:13:01 12:00:00' }],
    ['nothing', {}],
  ])('not from %s, which is no date', async (_, options) => {
    const created = String(Date.parse('2018-08-15T12:00:00Z'))
    const bytes = jpeg({ ...options, seed: seed() })
    expect(await place(bytes, `n${count}.jpg`, { created })).toBe(`2018/08/n${count}.jpg`)
  })

  it('of arrival where nobody says, or says what can’t be', async () => {
    const now = new Date().toLocaleDateString('sv-SE', { timeZone: 'Europe/Berlin' }).slice(0, 7).replace('-', '/')
    for (const fields of [{}, { created: '0' }, { created: '1e300' }, { created: '-99999999999999' }]) {
      const { body } = await upload(server.url, noise(1000, seed()), { name: 'arrived.bin', fields })
      expect(body.backup.file_path.slice(0, 7)).toBe(now)
      expect(body.backup.captured_at).toBe(null)
    }
    const zero = mov({ mvhd: 0, seed: seed() })
    expect((await place(zero, 'unset.mov')).slice(0, 7)).toBe(now)
  })
})

describe('the name', () => {
  const date = '2015:05:05 12:00:00'
  const photo = () => jpeg({ date, seed: seed() })

  it.each([
    ['Unicode', '照片 ☀️ é.JPG', '照片 ☀️ é.JPG'],
    ['decomposed Unicode', 'Cafe\u0301.JPG', 'Caf\u00e9.JPG'],
    ['a path', '../../../etc/pass wd.jpg', 'pass wd.jpg'],
    ['a Windows path', 'C:\\Windows\\evil.jpg', 'evil.jpg'],
    ['what drives forbid', 'a:b*c?d<e>f|g.jpg', 'a_b_c_d_e_f_g.jpg'],
    ['leading dots', '..hidden.jpg', 'hidden.jpg'],
    ['trailing dots and spaces', 'trail.jpg. . .', 'trail.jpg'],
    ['a device of Windows', 'CON.jpg', '_CON.jpg'],
    ['a device of Windows with more behind it', 'lpt1.tar.jpg', '_lpt1.tar.jpg'],
    ['the private folder', '.iclood', 'iclood'],
  ])('of %s is kept as far as every drive can', async (_, name, expected) => {
    expect(await place(photo(), name)).toBe(`2015/05/${expected}`)
  })

  it.each(['..', '.', '...', ' ', '/', '. .', 'x/'])(
    '%j, of which nothing is left, becomes something sensible',
    async (name) => {
      expect(await place(photo(), name)).toMatch(/^2015\/05\/photo( \(\d+\))?\.jpg$/)
    },
  )

  it.each([
    ['.jpg', '.jpg'],
    ['.HEIC', '.HEIC'],
    ['..jpg', '.jpg'],
    [' .jpg ', '.jpg'],
    ['\u200b.jpg', '.jpg'],
    ['/DCIM/.mov', '.mov'],
  ])('%j, which is no more than an extension, gets a stem before %s', async (name, extension) => {
    const path = await place(photo(), name)
    expect(path.replace(/ \(\d+\)/, '')).toBe(`2015/05/photo${extension}`)
  })

  it('that holds percent signs is kept', async () => {
    const form = new FormData()
    form.append('file', new Blob([photo()]), 'a%20b.jpg')
    const answer = await fetch(`${server.url}/photos/upload`, { method: 'POST', body: form })
    expect(((await answer.json()) as { backup: { file_path: string } }).backup.file_path).toBe('2015/05/a%20b.jpg')
    // The path knows whether it was a browser that wrote %22 for a quote.
    const fields = { original_path: '/home/anna/a%22b.jpg' }
    const { body } = await upload(server.url, photo(), { name: 'a%22b.jpg', fields })
    expect(body.backup.file_path).toBe('2015/05/a%22b.jpg')
  })

  it('is taken from the path where the form has none', async () => {
    const { body } = await upload(server.url, photo(), {
      name: null,
      fields: { original_path: 'file:///var/mobile/DCIM/From%20the%20Path%20%E2%98%80.JPG#frag/ment' },
    })
    expect(body.backup.file_path).toBe('2015/05/From the Path ☀.JPG')
  })

  it('of 300 bytes is cut before its extension, and numbered within 255', async () => {
    const name = `${'é'.repeat(150)}.JPG`
    const first = await place(photo(), name)
    const second = await place(photo(), name)
    expect(first).toBe(`2015/05/${'é'.repeat(125)}.JPG`)
    expect(second).toBe(`2015/05/${'é'.repeat(123)} (2).JPG`)
    for (const each of [first, second]) expect(Buffer.byteLength(each.slice(8))).toBeLessThanOrEqual(255)
  })

  it('never leaves the library, whatever it is', async () => {
    const hostile = [
      '..%2f..%2fx.jpg',
      '/etc/x.jpg',
      '....//x.jpg',
      '\u202egpj.x',
      'a\nb.jpg',
      'x.jpg\u0000.exe',
      '~root',
      '-rf',
      '$(x).jpg',
      '%00.jpg',
    ]
    for (const name of hostile) {
      const { status, body } = await upload(server.url, photo(), {
        name: name.replaceAll('\n', '%0A').replaceAll('\u0000', '%00'),
      })
      expect(status).toBe(201)
      expect(body.backup.file_path).toMatch(/^2015\/05\/[^/\\]+$/)
    }
    expect((await readdir(server.library)).every((name) => name === '.iclood' || /^\d{4}$/.test(name))).toBe(true)
  })
})

describe('a taken name', () => {
  it('is judged without regard to case and Unicode form, and numbered', async () => {
    const photo = () => jpeg({ date: '2014:05:05 12:00:00', seed: seed() })
    const names = ['Über.JPG', 'über.jpg', 'U\u0308BER.Jpg', 'Über (2).jpg', 'Straße.jpg', 'STRASSE.JPG']
    const placed: string[] = []
    for (const name of names) placed.push((await place(photo(), name)).slice(8))
    const keys = placed.map((name) => name.normalize('NFC').toUpperCase())
    expect(new Set(keys).size).toBe(names.length)
    expect(placed.slice(0, 4)).toEqual(['Über.JPG', 'über (2).jpg', 'ÜBER (3).Jpg', 'Über (2) (2).jpg'])
  })

  it('is one, too, that somebody else put there, before or while the server knows the folder', async () => {
    const photo = () => jpeg({ date: '2013:05:05 12:00:00', seed: seed() })
    const folder = join(server.library, '2013/05')
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'img_1.jpg'), 'mine')
    expect(await place(photo(), 'IMG_1.JPG')).toBe('2013/05/IMG_1 (2).JPG')
    await writeFile(join(folder, 'IMG_1 (3).jpg'), 'mine')
    await writeFile(join(folder, 'cafe\u0301.jpg'), 'mine')
    await mkdir(join(folder, 'ordner.jpg'))
    expect(await place(photo(), 'IMG_1.JPG')).toBe('2013/05/IMG_1 (4).JPG')
    expect(await place(photo(), 'CAF\u00c9.JPG')).toBe('2013/05/CAFÉ (2).JPG')
    expect(await place(photo(), 'Ordner.jpg')).toBe('2013/05/Ordner (2).jpg')
    for (const name of ['img_1.jpg', 'IMG_1 (3).jpg', 'cafe\u0301.jpg'])
      expect(await readFile(join(folder, name), 'utf8')).toBe('mine')
  })
})

describe('the halves of a Live Photo', () => {
  /** Halves that say when they were taken: the still by its EXIF, the video by its own date. */
  const still = (date: string, offset = '+02:00') =>
    heic({ date: `${date.slice(0, 10).replaceAll('-', ':')} ${date.slice(11)}`, offset, seed: seed() })
  const video = (date: string, offset = '+0200') => mov({ creationDate: `${date}${offset}`, seed: seed() })

  async function send(device: string, name: string, bytes: Buffer, from?: string): Promise<string> {
    const { status, body } = await makePhone(server, device, from).upload(bytes, {
      name,
      fields: { original_path: path(name) },
    })
    expect(status).toBe(201)
    return body.backup.file_path
  }
  const announce = (device: string, names: Record<string, string>, from?: string) =>
    makePhone(server, device, from).offer(
      ...Object.entries(names).map(([name, date]) => ({
        path: path(name),
        id: `${from} ${name}`,
        name,
        created: Date.parse(date),
      })),
    )
  const stem = (file: string) => file.replace(/\.[^.]*$/, '')

  it('lie together in the still’s month, the still first', async () => {
    expect(await send('L1', 'L1.HEIC', still('2012-06-30T23:59:59'))).toBe('2012/06/L1.HEIC')
    expect(await send('L1', 'L1.MOV', video('2012-07-01T00:00:01'))).toBe('2012/06/L1.MOV')
  })

  it('lie together in the still’s month, the video first, where the still was announced', async () => {
    await announce('L2', { 'L2.HEIC': '2012-06-30T21:59:59Z', 'L2.MOV': '2012-06-30T22:00:01Z' })
    expect(await send('L2', 'L2.MOV', video('2012-07-01T00:00:01'))).toBe('2012/06/L2.MOV')
    expect(await send('L2', 'L2.HEIC', still('2012-06-30T23:59:59'))).toBe('2012/06/L2.HEIC')
  })

  it('lie in the month of where they were taken though TZ is elsewhere', async () => {
    await announce('L3', { 'L3.HEIC': '2012-07-01T06:59:58Z' })
    expect(await send('L3', 'L3.MOV', video('2012-06-30T23:59:59', '-0700'))).toBe('2012/06/L3.MOV')
    expect(await send('L3', 'L3.HEIC', still('2012-06-30T23:59:58', '-07:00'))).toBe('2012/06/L3.HEIC')
  })

  it.each(['still', 'video'])('keep one base name where it is taken, the %s first', async (first) => {
    const [a, b] = [`C-${first}.HEIC`, `C-${first}.MOV`]
    for (const device of ['C1', 'C2', 'C3']) {
      await announce(device, { [a]: '2012-03-05T12:00:00Z', [b]: '2012-03-05T12:00:00Z' })
      const halves = [
        [a, still('2012-03-05T14:00:00')],
        [b, video('2012-03-05T14:00:01')],
      ] as const
      const placed: string[] = []
      for (const [name, bytes] of first === 'still' ? halves : halves.toReversed())
        placed.push(await send(device, name, bytes))
      expect(stem(placed[0] ?? '')).toBe(stem(placed[1] ?? ''))
    }
  })

  it.each(['MOV', 'HEIC'])('keep one base name where a stranger has the name of the %s half only', async (taken) => {
    const base = `S-${taken}`
    await mkdir(join(server.library, '2012/03'), { recursive: true })
    await writeFile(join(server.library, '2012/03', `${base.toLowerCase()}.${taken}`), 'mine')
    await announce('S', { [`${base}.HEIC`]: '2012-03-05T12:00:00Z', [`${base}.MOV`]: '2012-03-05T12:00:00Z' })
    const one = await send('S', `${base}.HEIC`, still('2012-03-05T14:00:00'))
    const two = await send('S', `${base}.MOV`, video('2012-03-05T14:00:01'))
    expect(stem(one)).toBe(stem(two))
    expect(one).toBe(`2012/03/${base} (2).HEIC`)
  })

  it('keep one base name and month when both arrive at the same moment, many at once', async () => {
    const names = Array.from({ length: 20 }, (_, index) => `M${index % 4}`)
    const pairs = names.map(async (base, index) => {
      const device = `M phone ${Math.floor(index / 4)}`
      await announce(device, { [`${base}.HEIC`]: '2012-06-30T21:59:59Z', [`${base}.MOV`]: '2012-06-30T22:00:01Z' })
      return Promise.all([
        send(device, `${base}.MOV`, video('2012-07-01T00:00:01')),
        send(device, `${base}.HEIC`, still('2012-06-30T23:59:59')),
      ])
    })
    const placed = await Promise.all(pairs)
    for (const [movie, photo] of placed) expect(stem(movie)).toBe(stem(photo))
    expect(new Set(placed.map(([movie]) => movie.toLowerCase())).size).toBe(20)
  })

  it('find each other without having been announced', async () => {
    const one = await send('U', 'U.MOV', video('2012-03-05T14:00:01'))
    const two = await send('U', 'U.HEIC', still('2012-03-05T14:00:00'))
    expect([one, two]).toEqual(['2012/03/U.MOV', '2012/03/U.HEIC'])
  })

  it('of two phones of one model with one name go with their own other halves', async () => {
    for (const order of [
      ['a.HEIC', 'b.HEIC', 'a.MOV', 'b.MOV'],
      ['a.MOV', 'b.MOV', 'b.HEIC', 'a.HEIC'],
      ['b.MOV', 'a.HEIC', 'b.HEIC', 'a.MOV'],
    ]) {
      const base = `T${order.join('')}`.replaceAll('.', '')
      const days = { a: '2011-06-30', b: '2011-11-30' } as const
      const from = { a: '127.0.0.41', b: '127.0.0.42' } as const
      for (const phone of ['a', 'b'] as const)
        await announce(
          'T',
          { [`${base}.HEIC`]: `${days[phone]}T10:00:00Z`, [`${base}.MOV`]: `${days[phone]}T10:00:00Z` },
          from[phone],
        )
      const placed: Record<string, string> = {}
      for (const half of order) {
        const phone = half.startsWith('a') ? 'a' : 'b'
        const at = `${days[phone]}T12:00:00`
        const isStill = half.endsWith('HEIC')
        placed[half] = await send('T', `${base}.${half.slice(2)}`, isStill ? still(at) : video(at), from[phone])
      }
      expect(stem(placed['a.HEIC'] ?? '')).toBe(stem(placed['a.MOV'] ?? ''))
      expect(stem(placed['b.HEIC'] ?? '')).toBe(stem(placed['b.MOV'] ?? ''))
      expect(placed['a.HEIC']).toMatch(/^2011\/06\//)
      expect(placed['b.HEIC']).toMatch(/^2011\/11\//)
    }
  })

  it('are not a still and a video of two phones of one model, taken months apart', async () => {
    expect(await send('V', 'V.HEIC', still('2011-01-10T12:00:00'))).toBe('2011/01/V.HEIC')
    expect(await send('V', 'V.MOV', video('2011-09-10T12:00:00'))).toBe('2011/09/V.MOV')
    await announce('V', { 'V2.HEIC': '2011-01-10T10:00:00Z' })
    expect(await send('V', 'V2.MOV', video('2011-09-10T12:00:00'))).toBe('2011/09/V2.MOV')
  })

  it('are not a still and a video of different folders or devices', async () => {
    await send('W', 'W.HEIC', still('2012-06-30T23:59:59'))
    const elsewhere = { name: 'W.MOV', fields: { original_path: path('W.MOV').replace('100APPLE', '101APPLE') } }
    const { body } = await makePhone(server, 'W').upload(video('2012-07-01T00:00:01'), elsewhere)
    expect(body.backup.file_path).toBe('2012/07/W.MOV')
    expect(await send('W2', 'W.MOV', video('2012-07-01T00:00:02'))).toBe('2012/07/W (2).MOV')
  })
})
