import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jpeg, mov, noise } from '../support/media.ts'
import { formOf, get, post, upload } from '../support/phone.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'
import { dial, exchange, send } from '../support/wire.ts'

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/
const HUMAN = /^(0B|\d+\.\d\d(B|KB|MB|GB|TB|PB))$/
const BACKUP_KEYS = [
  'captured_at',
  'device_id',
  'file_name',
  'file_path',
  'file_size',
  'file_type',
  'id',
  'mime_type',
  'original_path',
  'sha256',
  'status',
  'timestamp',
]

let server: TestServer

beforeAll(async () => {
  server = await startServer(await makeFolder(), { MAX_FILE_SIZE: '2' })
})

afterAll(async () => {
  await server.stop()
  await removeFolder(server.folder)
})

const keys = (value: object) => Object.keys(value).sort()
const path = (name: string) => `file:///var/mobile/Media/DCIM/100APPLE/${name}`

/** What every refusal looks like. */
function expectError(answer: { status: number; body: unknown }, status: number, code: string) {
  expect(answer.body).toEqual({ status: 'error', code, message: expect.stringMatching(/^\S.* .*\.$/s) })
  expect(answer.status).toBe(status)
}

describe('GET /ping', () => {
  it('answers in exactly these words', async () => {
    const answer = await get(server.url, '/ping')
    expect(answer.status).toBe(200)
    expect(answer.body).toEqual({ status: 'success', message: 'iClood server is online' })
    expect(answer.headers.get('content-type')).toMatch(/^application\/json/)
  })

  it('takes a GET that says its body, which it does not have, is JSON', async () => {
    const headers = { 'content-type': 'application/json' }
    for (const route of [
      '/ping',
      '/storage/status',
      '/storage/usage',
      '/backup/log',
      '/backup/history',
      '/photos/ignored',
    ])
      expect(await send(server, { path: route, headers })).toMatchObject({ status: 200, body: { status: 'success' } })
    const empty = { ...headers, 'content-length': '0' }
    expect(await send(server, { path: '/storage/status', headers: empty })).toMatchObject({ status: 200 })
  })
})

describe('POST /photos/new', () => {
  const list = (body: unknown) => post(server.url, '/photos/new', body)

  it('answers with the four fields and nothing else', async () => {
    const { status, body } = await list({ device_id: 'shape', files: [{ path: path('A.HEIC') }] })
    expect(status).toBe(200)
    expect(keys(body)).toEqual(['backed_up_count', 'count', 'ignored_files', 'new_files', 'status'])
    expect(body).toEqual({
      status: 'success',
      new_files: [{ path: path('A.HEIC') }],
      count: 1,
      ignored_files: [],
      backed_up_count: 0,
    })
  })

  it('returns the objects that it was sent byte for byte, in order, unknown fields and all', async () => {
    const objects = [
      '{ "path" : "/a/1.JPG", "zeta": 1.0, "alpha": [1, {"b": "\\u00e9"}], "10": 1e2, "2": -0 }',
      '{"duration":12345678901234567890,"path":"/a/\\u732b 2.JPG","id":7,"nested":{"path":"x"},"path2":null}',
      '{"path":"/a/3.JPG","name":null,"size":0,"type":"livePhoto","created":1719828000123.456,"modified":null,"location":{}}',
    ]
    const answer = await send(server, {
      method: 'POST',
      path: '/photos/new',
      headers: { 'content-type': 'application/json' },
      body: `{"x": {"files": 3}, "files": [${objects.join(' ,\n ')}], "device_id": "verbatim", "more": []}`,
    })
    expect(answer.text).toContain(`"new_files":[${objects.join(',')}]`)
    expect(answer.headers['content-type']).toMatch(/^application\/json/)
  })

  it('answers an empty list with nothing to do', async () => {
    const { status, body } = await list({ files: [] })
    expect({ status, body }).toEqual({
      status: 200,
      body: { status: 'success', new_files: [], count: 0, ignored_files: [], backed_up_count: 0 },
    })
  })

  it('takes a missing, null or empty device_id for "unknown"', async () => {
    const files = [{ path: path('NOBODY.HEIC'), created: 1719828000000 }]
    await upload(server.url, jpeg({ date: '2024:07:01 12:00:00', seed: 'nobody' }), {
      name: 'NOBODY.HEIC',
      fields: { original_path: path('NOBODY.HEIC') },
    })
    for (const body of [
      { files },
      { device_id: null, files },
      { device_id: '', files },
      { device_id: 'unknown', files },
    ])
      expect((await list(body)).body).toMatchObject({ count: 0, backed_up_count: 1 })
    expect((await list({ device_id: 'somebody', files })).body).toMatchObject({ count: 1 })
  })

  it.each([
    ['no Content-Type', {}],
    ['a Content-Type that names another', { 'content-type': 'text/plain' }],
    ['a JSON one with a charset', { 'content-type': 'application/json; charset=utf-8' }],
    ['a chunked body', { 'content-type': 'application/json', 'transfer-encoding': 'chunked' }],
  ] as [string, Record<string, string>][])('reads a list that comes with %s', async (_, headers) => {
    const body = Buffer.from('{"files":[{"path":"/a/猫.JPG"}]}')
    const pieces = [...body].map((byte) => Buffer.of(byte))
    const answer = await send(server, { method: 'POST', path: '/photos/new', headers, body: pieces })
    expect(answer).toMatchObject({ status: 200, body: { count: 1, new_files: [{ path: '/a/猫.JPG' }] } })
  })

  it.each([
    ['nothing', ''],
    ['blanks', '  \n'],
    ['broken JSON', '{"files": [{"path": "a"'],
    ['a broken element', '{"files": [{"path": }]}'],
    ['an array', '[]'],
    ['null', 'null'],
    ['text', '"files"'],
    ['no files', '{}'],
    ['files: null', '{"files": null}'],
    ['files as an object', '{"files": {"path": "a"}}'],
    ['a device_id that is a number', '{"device_id": 7, "files": []}'],
    ['a device_id with NUL', '{"device_id": "\\u0000", "files": []}'],
    ['something after the end', '{"files": []} x'],
  ])('refuses %s with 400 in the common shape', async (_, body) => {
    expectError(await list(body), 400, 'invalid_request')
  })

  it('names the element that is no JSON', async () => {
    const { body } = await list('{"files": [{"path": "a"}, {"path": b}]}')
    expect(body.message).toMatch(/files\[1\].*JSON/)
  })

  it('refuses bytes that are not UTF-8 instead of guessing', async () => {
    const body = Buffer.from('{"files":[{"path":"/a/\xe9.JPG"}]}', 'latin1')
    const answer = await send(server, { method: 'POST', path: '/photos/new', body })
    expectError(answer, 400, 'invalid_request')
  })

  it('takes 100,000 files at once', async () => {
    const files = Array.from({ length: 100_000 }, (_, index) => ({
      id: `${index}-1E5B-4B0F-9E0C-8B0C5A1D2E3F/L0/001`,
      path: `${path(`IMG_${index}.HEIC`)}#YnBsaXN0MDDRAQJfEBtSZWNvbW1lbmRlZEZvckltbWVyc2l2ZU1vZGU`,
      name: `IMG_${index}.HEIC`,
      size: 0,
      type: 'photo',
      created: 1719828000000 + index,
    }))
    // On a machine that is busy beyond measure the server gives up after a minute; a phone tries again.
    const { body } = await until('it is answered', async () => {
      const answer = await list({ device_id: 'hundred thousand', files })
      expect([200, 503]).toContain(answer.status)
      return answer.status === 200 && answer
    })
    expect(body.count).toBe(100_000)
    expect(body.new_files).toEqual(files)
  })

  it('takes an empty id for none, beside an entry without one, too', async () => {
    const files = [
      { path: path('NOID.HEIC'), id: '' },
      { path: path('NOID.HEIC') },
      { path: path('NOID.HEIC'), size: 0.4 },
    ]
    expect(await list({ device_id: 'no id', files })).toMatchObject({ status: 200, body: { count: 3 } })
    await upload(server.url, jpeg({ date: '2024:07:01 12:00:00', seed: 'no id' }), {
      name: 'NOID.HEIC',
      fields: { original_path: path('NOID.HEIC'), device_id: 'no id', asset_id: '' },
    })
    expect((await list({ device_id: 'no id', files })).body).toMatchObject({ count: 0, backed_up_count: 3 })
  })

  it('answers a file that stands twice in a list twice, and remembers it once', async () => {
    const file = { path: path('TWICE.HEIC'), id: 't' }
    expect((await list({ device_id: 'twice', files: [file, file] })).body).toMatchObject({ count: 2 })
    expect((await get(server.url, '/backup/log?status=Pending&device_id=twice')).body.total).toBe(1)
  })
})

describe('POST /photos/upload', () => {
  it('answers 201 with the backup: these keys, and all of them', async () => {
    const bytes = jpeg({ date: '2024:07:01 12:00:00', offset: '+02:00', size: 800_000, seed: 'shape' })
    const { status, body } = await upload(server.url, bytes, {
      name: 'IMG_SHAPE.JPG',
      fields: { original_path: path('IMG_SHAPE.JPG'), device_id: 'iPhone', file_type: 'photo' },
    })
    expect(status).toBe(201)
    expect(keys(body)).toEqual(['backup', 'message', 'status'])
    expect(keys(body.backup)).toEqual(BACKUP_KEYS)
    expect(body).toEqual({
      status: 'success',
      message: 'File uploaded successfully',
      backup: {
        id: expect.any(Number),
        file_name: 'IMG_SHAPE.JPG',
        file_path: '2024/07/IMG_SHAPE.JPG',
        file_size: 800_000,
        file_type: 'photo',
        mime_type: 'image/jpeg',
        timestamp: expect.stringMatching(ISO),
        status: 'Completed',
        original_path: path('IMG_SHAPE.JPG'),
        device_id: 'iPhone',
        captured_at: '2024-07-01T10:00:00.000Z',
        sha256: createHash('sha256').update(bytes).digest('hex'),
      },
    })
    expect(Math.abs(Date.parse(body.backup.timestamp) - Date.now())).toBeLessThan(60_000)
  })

  it('answers 200 with the same backup when it comes again', async () => {
    const bytes = jpeg({ date: '2024:07:02 12:00:00', seed: 'again' })
    const options = { name: 'AGAIN.JPG', fields: { original_path: path('AGAIN.JPG'), device_id: 'iPhone' } }
    const first = await upload(server.url, bytes, options)
    const second = await upload(server.url, bytes, options)
    expect(second.status).toBe(200)
    expect(second.body).toEqual({ status: 'success', message: 'File already backed up', backup: first.body.backup })
  })

  it('knows a file again that came without any field, and lists it once', async () => {
    const bytes = jpeg({ date: '2024:07:03 12:00:00', seed: 'bare' })
    const before = (await get(server.url, '/backup/log')).body.total
    const first = await upload(server.url, bytes, { name: 'bare.jpg' })
    const second = await upload(server.url, bytes, { name: 'bare.jpg' })
    expect([first.status, second.status]).toEqual([201, 200])
    expect(second.body.backup).toEqual(first.body.backup)
    expect(first.body.backup).toMatchObject({ device_id: 'unknown', original_path: null })
    expect((await get(server.url, '/backup/log')).body.total).toBe(before + 1)
  })

  it.each([
    ['a HEIC that claims to be a JPEG', 'video.jpg', 'image/jpeg', mov({ seed: 1 }), 'video', 'video/quicktime'],
    ['a photo that claims to be a video', 'still.mov', 'video/mp4', jpeg({ seed: 1 }), 'photo', 'image/jpeg'],
  ])('believes the bytes of %s', async (_, name, type, bytes, fileType, mimeType) => {
    const { body } = await upload(server.url, bytes, { name, type, fields: { file_type: 'photo' } })
    expect(body.backup).toMatchObject({ file_type: fileType, mime_type: mimeType, file_name: name })
  })

  it('believes the phone where the bytes do not tell', async () => {
    const bytes = noise(1000, 'unknown kind')
    const { status, body } = await upload(server.url, bytes, { name: 'CLIP.XYZ', fields: { file_type: 'video' } })
    expect(status).toBe(201)
    expect(body.backup).toMatchObject({ file_type: 'video', mime_type: 'image/jpeg' })
  })

  it.each([
    ['with a length', false],
    ['chunked', true],
  ])('takes a file that comes %s without name, type and fields', async (_, chunked) => {
    const bytes = jpeg({ date: '2024:08:01 12:00:00', seed: `nameless ${chunked}` })
    const body = Buffer.concat([
      Buffer.from('--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n'),
      bytes,
      Buffer.from('\r\n--b--\r\n'),
    ])
    const answer = await send(server, {
      method: 'POST',
      path: '/photos/upload',
      headers: {
        'content-type': 'multipart/form-data; boundary=b',
        ...(chunked ? { 'transfer-encoding': 'chunked' } : { 'content-length': String(body.length) }),
      },
      body: chunked ? [body.subarray(0, 100), body.subarray(100, 101), body.subarray(101)] : body,
    })
    expect(answer.status).toBe(201)
    expect(answer.body.backup.file_path).toMatch(/^2024\/08\/photo( \(2\))?\.jpg$/)
  })

  it('takes the fields before the file as well as after it', async () => {
    const bytes = jpeg({ date: '2024:07:01 12:00:00', seed: 'fields first' })
    const body = Buffer.concat([
      Buffer.from('--b\r\nContent-Disposition: form-data; name="device_id"\r\n\r\nfirst\r\n'),
      Buffer.from('--b\r\nContent-Disposition: form-data; name="unheard_of"\r\n\r\nwhatever\r\n'),
      Buffer.from('--b\r\nContent-Disposition: form-data; name="file"; filename="FIRST.JPG"\r\n\r\n'),
      bytes,
      Buffer.from('\r\n--b--'),
    ])
    const headers = { 'content-type': 'multipart/form-data; boundary="b"' }
    const answer = await send(server, { method: 'POST', path: '/photos/upload', headers, body })
    expect(answer).toMatchObject({ status: 201, body: { backup: { device_id: 'first', file_name: 'FIRST.JPG' } } })
  })

  it('keeps the Unicode of a name as React Native writes it', async () => {
    const { body } = await upload(server.url, jpeg({ date: '2024:07:01 12:00:00', seed: 'unicode' }), {
      name: '照片 1.JPG',
    })
    expect(body.backup).toMatchObject({ file_name: '照片 1.JPG', file_path: '2024/07/照片 1.JPG' })
  })

  it('compares sha256 in either case, and refuses what arrived damaged with 422, keeping nothing', async () => {
    const bytes = jpeg({ date: '2024:07:01 12:00:00', seed: 'sum' })
    const right = createHash('sha256').update(bytes).digest('hex')
    const wrong = createHash('sha256').update('something else').digest('hex')
    const name = 'SUM.JPG'
    const answer = await upload(server.url, bytes, { name, fields: { sha256: wrong } })
    expectError(answer, 422, 'checksum_mismatch')
    expect(answer.body.message).toContain(wrong)
    const kept = await upload(server.url, bytes, { name, fields: { sha256: right.toUpperCase() } })
    expect(kept).toMatchObject({ status: 201, body: { backup: { file_path: '2024/07/SUM.JPG', sha256: right } } })
  })

  it.each([
    ['a sha256 that is none', { sha256: 'abc' }],
    ['a created that is no time', { created: 'yesterday' }],
    ['a device_id beyond all bounds', { device_id: 'x'.repeat(2000) }],
    ['an asset_id beyond all bounds', { asset_id: 'x'.repeat(2000) }],
    ['an original_path beyond all bounds', { original_path: 'x'.repeat(20_000) }],
  ])('refuses %s with 400', async (_, fields) => {
    expectError(await upload(server.url, jpeg({ seed: 'refused' }), { fields }), 400, 'invalid_request')
  })

  it('refuses two files in one form with 400 and keeps neither', async () => {
    const part = (seed: string) =>
      Buffer.concat([
        Buffer.from('--b\r\nContent-Disposition: form-data; name="file"; filename="TWO.JPG"\r\n\r\n'),
        jpeg({ date: '2024:07:01 12:00:00', seed }),
        Buffer.from('\r\n'),
      ])
    const body = Buffer.concat([part('one'), part('two'), Buffer.from('--b--\r\n')])
    const headers = { 'content-type': 'multipart/form-data; boundary=b' }
    expectError(await send(server, { method: 'POST', path: '/photos/upload', headers, body }), 400, 'invalid_request')
    const { body: log } = await get(server.url, '/backup/log?limit=1000')
    expect(log.backups.filter((backup: { file_name: string }) => backup.file_name === 'TWO.JPG')).toEqual([])
  })

  it('refuses a form without a file, and an empty file, with 400', async () => {
    expectError(await upload(server.url, Buffer.alloc(0)), 400, 'invalid_request')
    const body = '--b\r\nContent-Disposition: form-data; name="device_id"\r\n\r\nx\r\n--b--\r\n'
    const headers = { 'content-type': 'multipart/form-data; boundary=b' }
    expectError(await send(server, { method: 'POST', path: '/photos/upload', headers, body }), 400, 'invalid_request')
  })

  it('refuses a form that ends before its closing boundary with 400', async () => {
    const { body, contentType } = formOf(jpeg({ seed: 'cut' }), {})
    const answer = await send(server, {
      method: 'POST',
      path: '/photos/upload',
      headers: { 'content-type': contentType },
      body: body.subarray(0, -40),
    })
    expectError(answer, 400, 'upload_incomplete')
  })

  it.each([
    ['JSON', { 'content-type': 'application/json' }, '{}'],
    ['nothing at all', {}, undefined],
    ['bytes without a type', {}, 'bytes'],
    ['an urlencoded form', { 'content-type': 'application/x-www-form-urlencoded' }, 'file=x'],
  ] as [string, Record<string, string>, string | undefined][])('refuses %s with 415', async (_, headers, body) => {
    const answer = await send(server, {
      method: 'POST',
      path: '/photos/upload',
      headers,
      ...(body !== undefined && { body }),
    })
    expectError(answer, 415, 'unsupported_media_type')
  })

  it.each([
    ['no boundary', 'multipart/form-data'],
    ['an empty boundary', 'multipart/form-data; boundary='],
    ['a boundary of 71 characters', `multipart/form-data; boundary=${'x'.repeat(71)}`],
  ])('refuses %s with 400', async (_, contentType) => {
    const headers = { 'content-type': contentType }
    expectError(
      await send(server, { method: 'POST', path: '/photos/upload', headers, body: 'x' }),
      400,
      'invalid_request',
    )
  })
})

describe('MAX_FILE_SIZE', () => {
  const limit = 2 * 1024 * 1024

  it('lets a file of exactly that size pass, and refuses one byte more with 413', async () => {
    expect((await upload(server.url, noise(limit, 'exact'))).status).toBe(201)
    expectError(await upload(server.url, noise(limit + 1, 'over')), 413, 'file_too_large')
  })

  it('refuses with 413 what turns out too large when its length was not said', async () => {
    const { body, contentType } = formOf(noise(limit + 1, 'chunked over'), {})
    const answer = await send(server, {
      method: 'POST',
      path: '/photos/upload',
      headers: { 'content-type': contentType, 'transfer-encoding': 'chunked' },
      body: [body.subarray(0, 1000), body.subarray(1000)],
    })
    expectError(answer, 413, 'file_too_large')
  })

  it('tells a client that asks first before it sends a byte', async () => {
    const socket = await dial(server)
    socket.setEncoding('utf8')
    const { contentType } = formOf(Buffer.alloc(0), {})
    socket.write(
      `POST /photos/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${contentType}\r\nContent-Length: 900000000\r\nExpect: 100-continue\r\n\r\n`,
    )
    const [first] = await new Promise<string[]>((resolve) => socket.once('data', (text) => resolve([String(text)])))
    socket.destroy()
    expect(first).toMatch(/^HTTP\/1\.1 413 /)
    expect(first).toContain('"file_too_large"')
  })

  it('lets a client that asks first send what is not too large', async () => {
    const { body, contentType } = formOf(jpeg({ seed: 'continue' }), { name: 'CONTINUE.JPG' })
    const socket = await dial(server)
    socket.setEncoding('utf8')
    socket.write(
      `POST /photos/upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: ${contentType}\r\nContent-Length: ${body.length}\r\nExpect: 100-continue\r\n\r\n`,
    )
    const first = await new Promise<string>((resolve) => socket.once('data', (text) => resolve(String(text))))
    expect(first).toBe('HTTP/1.1 100 Continue\r\n\r\n')
    socket.write(body)
    let rest = ''
    for await (const text of socket) rest += text
    expect(rest).toMatch(/^HTTP\/1\.1 201 /)
  })
})

describe('ignoring', () => {
  const files = [{ path: `${path('I1.HEIC')}#a`, id: 'i1', name: 'I1.HEIC' }, { path: path('I2.HEIC') }]
  const device = { device_id: 'ignorer' }

  it('marks, lists and unmarks, and counts what is new each time', async () => {
    const one = await post(server.url, '/photos/ignore', { ...device, files: files.slice(0, 1) })
    expect(one.body).toEqual({ status: 'success', message: '1 files marked as ignored', ignored_count: 1 })
    const more = { path: path('I3.HEIC') }
    const both = await post(server.url, '/photos/ignore', { ...device, files: [...files, more] })
    expect(both.body).toEqual({ status: 'success', message: '2 files marked as ignored', ignored_count: 2 })
    const again = await post(server.url, '/photos/ignore', { ...device, files })
    expect(again.body).toEqual({ status: 'success', message: '0 files marked as ignored', ignored_count: 0 })

    const list = await post(server.url, '/photos/new', { ...device, files })
    expect(list.body).toMatchObject({ count: 0, new_files: [], ignored_files: files, backed_up_count: 0 })

    const { body } = await get(server.url, '/photos/ignored?device_id=ignorer')
    expect(keys(body)).toEqual(['count', 'ignored_files', 'status'])
    expect(body.ignored_files.map((file: { path: string }) => file.path).sort()).toEqual(
      [...files, more].map((file) => file.path).sort(),
    )
    expect(body.ignored_files.find((file: { path: string }) => file.path === files[0]?.path)).toEqual({
      id: expect.any(Number),
      file_name: 'I1.HEIC',
      path: files[0]?.path,
      original_path: files[0]?.path,
      asset_id: 'i1',
      device_id: 'ignorer',
      timestamp: expect.stringMatching(ISO),
    })
    expect((await get(server.url, '/photos/ignored?device_id=another')).body).toMatchObject({ ignored_files: [] })

    // What the list calls a path is what the way back takes.
    const listed = body.ignored_files.map((file: { path: string }) => ({ path: file.path }))
    const back = await post(server.url, '/photos/unignore', { ...device, files: listed })
    expect(back.body).toMatchObject({ status: 'success', unignored_count: 3 })
    expect(keys(back.body)).toEqual(['message', 'status', 'unignored_count'])
    expect((await post(server.url, '/photos/unignore', { ...device, files })).body.unignored_count).toBe(0)
    expect((await post(server.url, '/photos/new', { ...device, files })).body).toMatchObject({ count: 2 })
  })

  it('marks a file once, however many requests ask for it at the same moment', async () => {
    for (let round = 0; round < 10; round++) {
      const files = Array.from({ length: 50 }, (_, index) => ({ path: path(`CROWD ${round} ${index}.HEIC`) }))
      const body = { device_id: `crowd ${round}`, files }
      const answers = await Promise.all(Array.from({ length: 12 }, () => post(server.url, '/photos/ignore', body)))
      expect(answers.reduce((sum, answer) => sum + answer.body.ignored_count, 0)).toBe(50)
      expect((await get(server.url, `/photos/ignored?device_id=crowd%20${round}`)).body.count).toBe(50)
    }
  })

  it('keeps two phones of one model apart by the id of the asset', async () => {
    const mine = { path: path('SHARED.HEIC'), id: 'mine' }
    const yours = { path: path('SHARED.HEIC'), id: 'yours' }
    await post(server.url, '/photos/ignore', { device_id: 'model', files: [mine] })
    expect((await post(server.url, '/photos/new', { device_id: 'model', files: [mine, yours] })).body).toMatchObject({
      ignored_files: [mine],
      new_files: [yours],
    })
  })

  it.each(['/photos/ignore', '/photos/unignore'])(
    '%s refuses an empty list, and what is none, with 400',
    async (route) => {
      for (const body of [{ files: [] }, {}, { files: 'x' }, '[', ''])
        expectError(await post(server.url, route, body), 400, 'invalid_request')
      expectError(await send(server, { method: 'POST', path: route }), 400, 'invalid_request')
    },
  )
})

describe('GET /storage', () => {
  it('/storage/status has exactly these fields', async () => {
    const { status, body } = await get(server.url, '/storage/status')
    expect(status).toBe(200)
    expect(keys(body)).toEqual(['backups', 'status', 'storage'])
    const { storage, backups } = body
    expect(storage).toEqual({
      total_bytes: expect.any(Number),
      used_bytes: expect.any(Number),
      free_bytes: expect.any(Number),
      total_human: expect.stringMatching(HUMAN),
      used_human: expect.stringMatching(HUMAN),
      free_human: expect.stringMatching(HUMAN),
      usage_percent: expect.any(Number),
    })
    expect(storage.usage_percent).toBeCloseTo((storage.used_bytes / storage.total_bytes) * 100, 2)
    expect(String(storage.usage_percent)).toMatch(/^\d+(\.\d\d?)?$/)
    expect(storage.used_bytes + storage.free_bytes).toBeLessThanOrEqual(storage.total_bytes)
    expect(backups).toEqual({
      total_size_bytes: expect.any(Number),
      total_size_human: expect.stringMatching(HUMAN),
      photo_count: expect.any(Number),
      video_count: expect.any(Number),
      total_count: expect.any(Number),
      last_backup: expect.stringMatching(ISO),
    })
  })

  it('/storage/status counts what has been backed up, by kind', async () => {
    const before = (await get(server.url, '/storage/status')).body.backups
    const photo = await upload(server.url, jpeg({ size: 1000, seed: 'counted' }))
    const video = await upload(server.url, mov({ size: 3000, seed: 'counted' }), { name: 'C.MOV' })
    const after = (await get(server.url, '/storage/status')).body.backups
    expect(photo.status + video.status).toBe(402)
    expect(after).toMatchObject({
      total_size_bytes: before.total_size_bytes + 4000,
      photo_count: before.photo_count + 1,
      video_count: before.video_count + 1,
      total_count: before.total_count + 2,
      last_backup: video.body.backup.timestamp,
    })
  })

  it('/storage/usage has exactly these fields', async () => {
    const { status, body } = await get(server.url, '/storage/usage')
    expect(status).toBe(200)
    expect(body).toEqual({
      status: 'success',
      used_bytes: expect.any(Number),
      used_human: expect.stringMatching(HUMAN),
      total_bytes: expect.any(Number),
      total_human: expect.stringMatching(HUMAN),
      available_bytes: expect.any(Number),
      available_human: expect.stringMatching(HUMAN),
      icloud_used_bytes: expect.any(Number),
      icloud_used_human: expect.stringMatching(HUMAN),
    })
  })

  it('/storage/usage counts bytes that two phones sent once', async () => {
    const used = async () => (await get(server.url, '/storage/usage')).body.icloud_used_bytes
    const before = await used()
    const bytes = jpeg({ size: 5000, seed: 'shared bytes' })
    for (const device of ['one', 'two'])
      await upload(server.url, bytes, { fields: { device_id: device, original_path: path('SHARED BYTES.JPG') } })
    expect((await used()) - before).toBe(5000)
  })
})

describe('GET /backup', () => {
  const device = 'log keeper'
  const names = ['L1.JPG', 'L2.JPG', 'L3.JPG', 'L4.JPG', 'L5.JPG']
  const log = async (query: string) => (await get(server.url, `/backup/log?${query}`)).body
  const namesOf = (body: { backups: { file_name: string }[] }) => body.backups.map((backup) => backup.file_name)
  const mine = `device_id=${encodeURIComponent(device)}`

  beforeAll(async () => {
    const files = [...names, 'NEVER.JPG', 'BROKEN.JPG'].map((name) => ({ path: path(name), name, id: name }))
    await post(server.url, '/photos/new', { device_id: device, files })
    for (const name of names) {
      const fields = { device_id: device, original_path: path(name), asset_id: name }
      await upload(server.url, jpeg({ date: '2024:07:01 12:00:00', seed: name }), { name, fields })
    }
    await upload(server.url, jpeg({ seed: 'BROKEN' }), {
      name: 'BROKEN.JPG',
      fields: { device_id: device, original_path: path('BROKEN.JPG'), asset_id: 'BROKEN.JPG', sha256: '0'.repeat(64) },
    })
  })

  it('the log has exactly these fields, newest first, without what is pending', async () => {
    const body = await log(mine)
    expect(keys(body)).toEqual(['backups', 'count', 'status', 'total'])
    expect(namesOf(body)).toEqual(['BROKEN.JPG', ...names.toReversed()])
    expect(body).toMatchObject({ status: 'success', count: 6, total: 6 })
    for (const backup of body.backups.slice(1)) expect(keys(backup)).toEqual(BACKUP_KEYS)
    const times = body.backups.map((backup: { timestamp: string }) => backup.timestamp)
    for (const time of times) expect(time).toMatch(ISO)
    expect(times).toEqual(times.toSorted().toReversed())
  })

  it('a failed one says why', async () => {
    const [failed] = (await log(mine)).backups
    expect(failed).toMatchObject({ status: 'Failed', file_path: null, sha256: null })
    expect(failed.failure).toMatch(/damaged/)
  })

  it('limit and offset cut pages out of it; total stays', async () => {
    expect(await log(`${mine}&limit=2`)).toMatchObject({ count: 2, total: 6 })
    expect(namesOf(await log(`${mine}&limit=2&offset=2`))).toEqual(['L4.JPG', 'L3.JPG'])
    expect(await log(`${mine}&limit=2&offset=5`)).toMatchObject({ count: 1, total: 6 })
    expect(await log(`${mine}&offset=6`)).toMatchObject({ count: 0, backups: [], total: 6 })
    expect(await log(`${mine}&limit=0`)).toMatchObject({ count: 0, backups: [], total: 6 })
    expect(await log('limit=1')).toMatchObject({ count: 1 })
  })

  it('status picks one kind', async () => {
    expect(await log(`${mine}&status=Completed`)).toMatchObject({ count: 5, total: 5 })
    expect(await log(`${mine}&status=Failed`)).toMatchObject({ count: 1, total: 1 })
    const pending = await log(`${mine}&status=Pending`)
    expect(pending).toMatchObject({ count: 1, total: 1, backups: [{ file_name: 'NEVER.JPG', status: 'Pending' }] })
  })

  it('before and after cut at a time, in any spelling, exclusively', async () => {
    const { backups } = await log(mine)
    const third = backups[3].timestamp
    const ms = Date.parse(third)
    for (const time of [third, encodeURIComponent(third.replace('Z', '+00:00')), third.replace('Z', '+00:00'), ms]) {
      const before = await log(`${mine}&before=${time}`)
      const after = await log(`${mine}&after=${time}`)
      for (const backup of before.backups) expect(Date.parse(backup.timestamp)).toBeLessThan(ms)
      for (const backup of after.backups) expect(Date.parse(backup.timestamp)).toBeGreaterThan(ms)
      const same = backups.filter((backup: { timestamp: string }) => backup.timestamp === third).length
      expect(before.total + after.total).toBe(6 - same)
      expect(before.total).toBe(before.count)
    }
    expect(await log(`${mine}&after=2001-01-01&before=2002-01-01`)).toMatchObject({ count: 0, total: 0 })
    expect(await log(`${mine}&status=Pending&after=2001-01-01`)).toMatchObject({ total: 1 })
  })

  it.each([
    'limit=-1',
    'limit=x',
    'limit=',
    'limit=1.5',
    'limit=1&limit=2',
    'offset=-1',
    'offset=1e99',
    'status=completed',
    'before=soon',
    'after=',
  ])('refuses %s with 400', async (query) => {
    expectError(await get(server.url, `/backup/log?${query}`), 400, 'invalid_request')
  })

  it.each(['-8640000000000000', '8640000000000000', '-271821-04-20T00:00:00Z', '0000-01-01', '-1', '9e99'])(
    'takes or refuses %s, at the ends of time, and does not fail',
    async (time) => {
      for (const name of ['before', 'after'])
        expect([200, 400]).toContain((await get(server.url, `/backup/log?${mine}&${name}=${time}`)).status)
    },
  )

  it('takes a query that it does not know', async () => {
    expect(await log(`${mine}&sort=asc&_=1`)).toMatchObject({ total: 6 })
  })

  it('the history has the last completed ones, with exactly these fields', async () => {
    const { body } = await get(server.url, '/backup/history')
    expect(keys(body)).toEqual(['history', 'status'])
    expect(namesOf({ backups: body.history }).slice(0, 5)).toEqual(names.toReversed())
    for (const entry of body.history) {
      expect(keys(entry)).toEqual(['device_id', 'file_name', 'file_size', 'file_type', 'id', 'status', 'timestamp'])
      expect(entry.status).toBe('Completed')
      expect(entry.timestamp).toMatch(ISO)
    }
    expect(body.history.length).toBeLessThanOrEqual(100)
  })

  it('the history ends after a hundred', async () => {
    await Promise.all(
      Array.from({ length: 101 }, (_, index) => upload(server.url, noise(100, `history ${index}`), { name: 'H.BIN' })),
    )
    expect((await get(server.url, '/backup/history')).body.history.length).toBe(100)
  })
})

describe('errors', () => {
  it.each([
    ['GET', '/'],
    ['GET', '/photos'],
    ['GET', '/photos/new'],
    ['POST', '/ping'],
    ['PUT', '/photos/upload'],
    ['DELETE', '/backup/log'],
    ['GET', '/../../etc/passwd'],
    ['GET', '/favicon.ico'],
    ['POST', '/nowhere'],
  ])('%s %s is a 404 in the common shape', async (method, route) => {
    const headers = { 'content-type': 'application/json' }
    const body = method === 'POST' ? { body: '{' } : {}
    expectError(await send(server, { method, path: route, headers, ...body }), 404, 'not_found')
  })

  it.each(['/%E0%A4%A', '/photos/%', '/%ff'])(
    '%s, which no path can be, is refused in the common shape',
    async (route) => {
      const answer = await send(server, { path: route })
      expect([400, 404]).toContain(answer.status)
      expect(answer.body).toEqual({ status: 'error', code: expect.any(String), message: expect.any(String) })
      expect(answer.headers['x-content-type-options']).toBe('nosniff')
    },
  )

  it('HEAD answers like GET, without the body', async () => {
    expect(await send(server, { method: 'HEAD', path: '/ping' })).toMatchObject({ status: 200, text: '' })
  })

  it.each([
    ['what is not HTTP', 'hello\r\n\r\n', '400', 'invalid_request'],
    [
      'headers that are too large',
      `GET /ping HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
      '431',
      'headers_too_large',
    ],
    [
      'a length that is none',
      'POST /photos/new HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n',
      '400',
      'invalid_request',
    ],
  ])('answers %s in the common shape', async (_, request, status, code) => {
    const answer = await exchange(server, request)
    expect(answer.split(' ', 2)[1]).toBe(status)
    expectError({ status: Number(status), body: JSON.parse(answer.split('\r\n\r\n')[1] ?? '') }, Number(status), code)
  })

  it('a drive that cannot be read is an error, not an invented number', async () => {
    const other = await startServer(await makeFolder())
    try {
      await writeFile(
        join(other.library, '.iclood/library.json'),
        '{"format":1,"id":"00000000-0000-4000-8000-000000000000"}',
      )
      // A file of another inode, as another drive has.
      const { rename } = await import('node:fs/promises')
      await rename(join(other.library, '.iclood'), join(other.library, '.gone'))
      expectError(await get(other.url, '/storage/status'), 503, 'drive_missing')
      expectError(await get(other.url, '/storage/usage'), 503, 'drive_missing')
      expect((await get(other.url, '/ping')).status).toBe(200)
    } finally {
      await other.stop()
      await removeFolder(other.folder)
    }
  })
})
