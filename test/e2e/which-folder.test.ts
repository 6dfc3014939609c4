import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runCommand } from '../support/command.ts'
import { drive, makeDrive, originalsIn } from '../support/drives.ts'
import { answersOf, backUpHousehold } from '../support/household.ts'
import { jpeg } from '../support/media.ts'
import { needs } from '../support/needs.ts'
import { get, post, upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { startReceiver } from '../support/receiver.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/wire.ts'

let folder: string
let database: TestDatabase
let server: TestServer | undefined
beforeEach(async () => {
  folder = await makeFolder()
  database = await startTestDatabase()
})
afterEach(async () => {
  await server?.stop()
  server = undefined
  await database.drop()
  await removeFolder(folder)
})

/** Starts the server again, with that folder for the library. */
async function start(library: string, env: Record<string, string> = {}): Promise<TestServer> {
  await server?.stop()
  server = await startServer(folder, { UPLOAD_FOLDER: library, DATABASE_URL: database.url, ...env })
  return server
}

const here = (name: string) => join(folder, name)
const photo = (seed: string) => jpeg({ date: '2024:07:01 12:00:00', seed })
const send = (to: TestServer, seed: string) => upload(to.url, photo(seed), { name: `${seed}.JPG` })
const health = async (of: TestServer) => (await get(of.url, '/library/health')).body
const idIn = async (library: string) => JSON.parse(await readFile(join(library, '.iclood/library.json'), 'utf8')).id

/** A first start without settings, as the README has it, and a phone that has looked in. */
async function bareStart(): Promise<string> {
  const library = here('data/photos')
  const running = await start(library)
  await post(running.url, '/photos/new', { device_id: 'iPhone', files: [{ path: 'ph://a', id: 'a', size: 5 }] })
  return library
}

describe('a database that was never told of a photo', () => {
  it('takes the folder that it is given next: an empty one becomes its library, with a journal of its own', async () => {
    const first = await bareStart()
    const drive = here('drive')
    await server?.stop()
    const { stdout } = await runCommand(folder, ['status'], { UPLOAD_FOLDER: drive, DATABASE_URL: database.url })
    expect(stdout).toContain('has not taken the folder that UPLOAD_FOLDER names yet. Start it')
    const running = await start(drive)
    expect(await send(running, 'one')).toMatchObject({ status: 201 })
    expect(await originalsIn(drive)).toEqual(['2024/07/one.JPG'])
    expect(await idIn(drive)).not.toBe(await idIn(first))
    expect(await originalsIn(first)).toEqual([])
    expect((await health(running)).problems).toEqual([])

    // All of it comes back from the new folder.
    await running.stop()
    await database.drop()
    database = await startTestDatabase()
    const again = await start(drive, { AUTO_REBUILD: 'true' })
    expect((await get(again.url, '/backup/log')).body).toMatchObject({ total: 1, backups: [{ file_name: 'one.JPG' }] })
  })

  it('gets everything back from a library that is given to it', async () => {
    const drive = here('drive')
    const there = await start(drive)
    const household = await backUpHousehold(there)
    const answers = await answersOf(there, household)
    await there.stop()
    await database.drop()
    database = await startTestDatabase()

    await bareStart()
    const moved = await start(drive, { AUTO_REBUILD: 'true' })
    expect(await answersOf(moved, household)).toEqual(answers)
    expect((await health(moved)).problems).toEqual([])
  })

  it('asks first with a database of its own; `iclood rebuild` answers, and the waiting server goes on', async () => {
    const drive = here('drive')
    await send(await start(drive), 'one')
    await server?.stop()
    await database.drop()
    database = await startTestDatabase()
    await bareStart()
    const waiting = await start(drive)
    expect(await send(waiting, 'two')).toMatchObject({ status: 503, body: { code: 'rebuild_needed' } })
    // What phones would tell it now would be in the way of what comes back.
    const list = { device_id: 'iPhone', files: [{ path: 'ph://b' }] }
    expect(await post(waiting.url, '/photos/new', list)).toMatchObject({
      status: 503,
      body: { code: 'rebuild_needed' },
    })
    const settings = { UPLOAD_FOLDER: drive, DATABASE_URL: database.url }
    expect(await runCommand(folder, ['rebuild'], settings)).toMatchObject({ code: 0 })
    await until('it goes on', async () => (await send(waiting, 'two')).status === 201)
    expect(await originalsIn(drive)).toEqual(['2024/07/one.JPG', '2024/07/two.JPG'])
  })

  it('is not taken away from a server that works with it', async () => {
    const first = await bareStart()
    const running = server
    server = undefined
    const other = await startServer(here(''), {
      UPLOAD_FOLDER: here('drive'),
      DATABASE_URL: database.url,
      DATA_DIR: here('other'),
    })
    try {
      expect(await send(other, 'one')).toMatchObject({ status: 503, body: { code: 'drive_missing' } })
      expect((await send(other, 'one')).body.message).toMatch(/another library.*server is working/)
      if (running !== undefined) expect(await send(running, 'one')).toMatchObject({ status: 201 })
      expect(await originalsIn(first)).toEqual(['2024/07/one.JPG'])
    } finally {
      await other.stop()
      await running?.stop()
    }
  })

  it('says that the folder is the second copy of its library', async () => {
    const first = await bareStart()
    const mirror = here('mirror')
    await mkdir(join(mirror, '.iclood'), { recursive: true })
    const file = { format: 1, id: '11111111-2222-4333-8444-555555555555', mirror_of: await idIn(first) }
    await writeFile(join(mirror, '.iclood/library.json'), JSON.stringify(file))
    const { body } = await send(await start(mirror), 'one')
    expect(body).toMatchObject({ code: 'drive_missing', message: expect.stringContaining('is the second copy') })
  })
})

describe('a database with photos', () => {
  it('and an empty folder: it is said everywhere what was found and where they lie', async () => {
    const [old, given] = [here('old place'), here('given')]
    await send(await start(old), 'one')
    await mkdir(given)
    const receiver = await startReceiver()
    try {
      const running = await start(given, { NOTIFY_URL: `http://127.0.0.1:${receiver.port}/` })
      const { status, body } = await send(running, 'two')
      expect({ status, code: body.code }).toEqual({ status: 503, code: 'drive_missing' })
      expect(body.message).toContain(`the folder that UPLOAD_FOLDER names is empty`)
      expect(body.message).not.toContain(folder)

      const whole = [expect.stringContaining('is empty'), expect.stringContaining(`last seen in ${old}`)]
      const { drive, problems } = await health(running)
      const { stdout } = await runCommand(folder, ['status'], { UPLOAD_FOLDER: given, DATABASE_URL: database.url })
      await until('a notification has come', async () => receiver.received.length > 0)
      const told = JSON.parse(receiver.received[0]?.body ?? '{}')
      for (const text of [drive.reason, problems[0].message, stdout, told.message, running.output()]) {
        for (const part of whole) expect(text).toEqual(part)
      }
      expect(await readdir(given)).toEqual([])
    } finally {
      await receiver.stop()
    }
  })

  it('goes on in a new folder when they are moved as it says', async () => {
    const [old, given] = [here('old'), here('given')]
    await send(await start(old), 'one')
    const command = /To move them: cp -a (\S+) (\S+)$/.exec((await health(await start(given))).drive.reason)
    expect(command?.slice(1)).toEqual([`${old}/.`, given])
    await server?.stop()
    await cp(old, given, { recursive: true, preserveTimestamps: true })
    const running = await start(given)
    expect(await send(running, 'one')).toMatchObject({ status: 200 })
    expect((await health(running)).problems).toEqual([])
  })
})

describe('the second copy in the place of a library with photos', () => {
  it('is said to be that in `status`, too, with the way to go on with it', async () => {
    const library = here('library')
    await send(await start(library), 'one')
    const mirror = here('mirror')
    await mkdir(join(mirror, '.iclood'), { recursive: true })
    const file = { format: 1, id: '11111111-2222-4333-8444-555555555555', mirror_of: await idIn(library) }
    await writeFile(join(mirror, '.iclood/library.json'), JSON.stringify(file))
    const { drive } = await health(await start(mirror))
    const { stdout } = await runCommand(folder, ['status'], { UPLOAD_FOLDER: mirror, DATABASE_URL: database.url })
    for (const text of [drive.reason, stdout])
      expect(text).toMatch(/second copy of the photo library.*iclood -- rebuild/)
  })
})

describe('a drive', needs(drive('tmpfs')), () => {
  it('that is not mounted any more is no empty folder, also before the first photo', async () => {
    const usb = await makeDrive('tmpfs')
    try {
      const first = await start(usb.path)
      await until('it is open', async () => (await get(first.url, '/storage/status')).status === 200)
      await usb.unmount()
      // Known since it was opened, without another start.
      expect((await health(first)).drive.reason).toContain('no drive is mounted where UPLOAD_FOLDER leads to')
      await server?.stop()
      const { body } = await send(await start(usb.path), 'one')
      expect(body).toMatchObject({
        code: 'drive_missing',
        message: expect.stringContaining('no drive is mounted where UPLOAD_FOLDER leads to'),
      })
      expect(await readdir(usb.path)).toEqual([])
      await usb.mount()
      const running = server
      await until('it goes on', async () => running !== undefined && (await send(running, 'one')).status === 201)
      expect(await originalsIn(usb.path)).toEqual(['2024/07/one.JPG'])
      await server?.stop()
    } finally {
      await usb.remove()
    }
  })

  it('that is read-only is reported so for as long as it is, also while nobody sends anything', async () => {
    const usb = await makeDrive('tmpfs')
    try {
      const running = await start(usb.path)
      expect((await health(running)).problems).toEqual([])
      await usb.remount('ro')
      const { drive, problems } = await health(running)
      expect(drive).toMatchObject({ present: true, reason: expect.stringContaining('read-only') })
      expect(problems).toMatchObject([{ key: 'drive_unwritable', severity: 'error' }])
      expect(await send(running, 'one')).toMatchObject({
        status: 503,
        body: { code: 'drive_error', message: expect.stringContaining('The drive is read-only') },
      })
      const { stdout } = await runCommand(folder, ['status'], { UPLOAD_FOLDER: usb.path, DATABASE_URL: database.url })
      expect(stdout).toContain('can’t be written to')
      await usb.remount('rw')
      expect((await health(running)).problems).toEqual([])
      await server?.stop()
    } finally {
      await usb.remove()
    }
  })

  it('that is read-only when it shall become a library, or the second copy, is said to be so', async () => {
    const usb = await makeDrive('tmpfs')
    try {
      await usb.remount('ro')
      const { body } = await send(await start(join(usb.path, 'a/new/one')), 'one')
      expect(body).toMatchObject({ code: 'drive_error', message: expect.stringContaining('The drive is read-only') })
      const running = await start(here('library'), { MIRROR_FOLDER: join(usb.path, 'mirror') })
      const mirror = await until('the mirror is looked at', async () => (await health(running)).mirror)
      expect(mirror).toMatchObject({ state: 'error', reason: expect.stringContaining('The drive is read-only') })
      await server?.stop()
    } finally {
      await usb.remove()
    }
  })
})
