import { execFile } from 'node:child_process'
import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { FORMS } from '../media/forms.ts'
import { jpeg, noise, riffChunk } from '../support/media.ts'
import { command, needs } from '../support/needs.ts'
import { makeFolder, startServer, type TestServer } from '../support/server.ts'
import { makePhone } from '../support/wire.ts'

const exiftool = command('exiftool', 'libimage-exiftool-perl')
const TZ = { TZ: 'Europe/Berlin' }

let server: TestServer
beforeAll(async () => {
  server = await startServer(await makeFolder(), TZ)
})

/** Uploads and returns where it lies, and when it was taken. */
async function send(name: string, bytes: Buffer, fields: Record<string, string> = {}, to = server) {
  const { status, body } = await makePhone(to, 'camera').upload(bytes, { name, fields })
  expect(status).toBe(201)
  return { path: body.backup.file_path, taken: body.backup.captured_at }
}
const monthOfNow = () => new Date().toISOString().slice(0, 7).replace('-', '/')
const form = (name: string) => {
  const found = FORMS.find((one) => one.name === name)
  if (found === undefined) throw new Error(`no form ${name}`)
  // Another content for each test; what stands behind the end of the image is none of it.
  return Buffer.concat([found.file, noise(16, `${count++}`)])
}
let count = 0
const CREATED = { created: String(Date.parse('2019-02-03T12:00:00Z')) }

describe('what says when a photo was taken', () => {
  it.each([
    'EXIF with CreateDate in a JPEG',
    'XMP with xmp:CreateDate in a JPEG',
    'IPTC with a date and a time in a JPEG',
    'a PNG with a text "Creation Time"',
    'a JPEG with three bytes between its segments',
    'a JPEG with rubbish before it',
  ])('is %s, whatever the phone says', async (name) => {
    const extension = name.includes('PNG') ? 'png' : 'jpg'
    const { path } = await send(`strong.${extension}`, form(name), CREATED)
    expect(path).toMatch(/^2015\/08\/strong/)
  })

  it.each([
    'EXIF with ModifyDate in a JPEG',
    'EXIF with the satellites’ time in a JPEG',
    'XMP with xmp:ModifyDate in a JPEG',
  ])('is the phone, before %s, which counts before the arrival', async (name) => {
    const told = await send('weak.jpg', form(name), CREATED)
    expect(told).toMatchObject({ path: expect.stringMatching(/^2019\/02\/weak/), taken: '2019-02-03T12:00:00.000Z' })
    expect((await send('weak.jpg', form(name))).path).toMatch(/^2015\/08\/weak/)
  })

  it('is nobody where all that is said can’t be: then the month is that of the arrival', async () => {
    const before = monthOfNow()
    const { path, taken } = await send('none.jpg', form('EXIF with nothing but zeros in a JPEG'))
    expect([before, monthOfNow()]).toContain(path.slice(0, 7))
    expect(taken).toBeNull()
  })

  it('is not a time years ahead, but the phone', async () => {
    const date = `${new Date().getUTCFullYear() + 2}:01:01 12:00:00`
    expect((await send('ahead.jpg', jpeg({ date }), CREATED)).path).toBe('2019/02/ahead.jpg')
  })
})

describe('a film of a rare kind', () => {
  const avi = (seed: string) => {
    const date = riffChunk('IDIT', Buffer.from('Sat Aug 22 12:20:56 2015\n\0'))
    const header = riffChunk('LIST', Buffer.concat([Buffer.from('hdrl'), riffChunk('avih', Buffer.alloc(56)), date]))
    const film = riffChunk('LIST', Buffer.concat([Buffer.from('movi'), noise(1000, seed)]))
    return riffChunk('RIFF', Buffer.concat([Buffer.from('AVI '), header, film]))
  }

  it('has the date that an installed ExifTool finds, if the phone says nothing', needs(exiftool), async () => {
    const found = await send('a.avi', avi('1'))
    expect(found).toEqual({ path: '2015/08/a.avi', taken: '2015-08-22T10:20:56.000Z' })
    expect((await send('b.avi', avi('2'), CREATED)).path).toBe('2019/02/b.avi')
  })

  it('goes to the month of its arrival where no ExifTool is installed', async () => {
    // What the server can't do without is there, and nothing else.
    const programs = await makeFolder()
    const { stdout: flock } = await promisify(execFile)('sh', ['-c', 'command -v flock'])
    await symlink(flock.trim(), join(programs, 'flock'))
    const bare = await startServer(await makeFolder(), { ...TZ, PATH: programs })
    const before = monthOfNow()
    for (const seed of ['3', '4']) {
      const { path, taken } = await send('c.avi', avi(seed), {}, bare)
      expect([before, monthOfNow()]).toContain(path.slice(0, 7))
      expect(taken).toBeNull()
    }
  })
})
