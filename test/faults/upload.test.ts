import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { originalsIn, stagedIn } from '../support/drives.ts'
import { Durability } from '../support/durability.ts'
import { ask } from '../support/embedded.ts'
import {
  type Call,
  type Faults,
  injectFaults,
  named,
  type Plan,
  plansOf,
  systemError,
  withEachFailure,
} from '../support/faults.ts'
import { type InProcessServer, openIn, startInProcess } from '../support/in-process.ts'
import { jpeg, mov } from '../support/media.ts'
import { type Answer, post, upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder } from '../support/server.ts'

const MB = 1024 * 1024
/** `f_type` of statfs(2). */
const EXT4 = 0xef53
const FUSE = 0x65735546

let root: string
let database: TestDatabase
let server: InProcessServer
let faults: Faults
let durability: Durability
beforeAll(async () => {
  // In memory, where there is such a place: thousands of small files are written.
  root = await makeFolder(existsSync('/dev/shm') ? '/dev/shm' : undefined)
  database = await startTestDatabase()
  // Flushes are counted and made to fail, but for what they are worth they need not be waited for.
  await ask(database.connection, `alter database ${database.connection.database} set synchronous_commit = off`)
  // Each scene has a year of its own, and what was taken in the future would have no date.
  server = await startInProcess(root, database, { now: () => new Date(Date.now() + CENTURIES_MS) })
  faults = injectFaults()
  durability = new Durability(root)
  faults.watch(durability)
  faults.behave('fsync', async () => {})
  faults.behave('datasync', async () => {})
  beAs(EXT4)
})
afterEach(() => beAs(EXT4))
afterAll(async () => {
  faults.restore()
  await server.stop()
  await database.drop()
  await removeFolder(root)
})

/** Has the drive say that it is of that type: a local one is asked in other ways than one behind FUSE. */
function beAs(type: number): void {
  faults.behave('statfs', async () => ({ type, bsize: 4096, blocks: 4e9, bfree: 3e9, bavail: 3e9 }))
  faults.behave('link', undefined)
}

/** A photo or video on a phone. */
interface Asset {
  device: string
  name: string
  bytes: Buffer
}

const CENTURIES_MS = 1_000 * 365 * 24 * 60 * 60 * 1000

/** What a try starts from: a year of its own, in which nothing has happened before. */
class Scene {
  static #count = 0
  readonly year: string
  readonly device: string
  /** What lies in the year, by path. */
  readonly originals = new Map<string, string>()

  constructor() {
    Scene.#count++
    this.year = String(1900 + Scene.#count)
    this.device = `iPhone ${Scene.#count}`
  }

  /** A photo taken in July. */
  photo(options: { name?: string; seed?: string; size?: number; device?: string } = {}): Asset {
    const { name = 'IMG_0001.JPG', seed = '', size = 20_000, device = this.device } = options
    const bytes = jpeg({ date: `${this.year}:07:01 12:00:00`, size, seed: `${this.year} ${seed}` })
    return { device, name, bytes }
  }

  /** A video taken in July that has its dates at its end. */
  video(name: string, size = 200_000): Asset {
    const bytes = mov({ creationDate: `${this.year}-07-01T12:00:01+0200`, moovAtEnd: true, size, seed: this.year })
    return { device: this.device, name, bytes }
  }

  path(name: string): string {
    return `${this.year}/07/${name}`
  }

  /** Has it backed up. */
  async store(asset: Asset): Promise<string> {
    const { status, body } = await send(asset)
    expect(status).toBe(201)
    this.originals.set(body.backup.file_path, sha256(asset.bytes))
    return body.backup.file_path
  }

  /** Puts a file there that the server knows nothing of. */
  async put(path: string, bytes: Buffer): Promise<void> {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), bytes)
    this.originals.set(path, sha256(bytes))
    durability.noteDurable(path)
  }

  /** Takes an original away. */
  async lose(path: string): Promise<void> {
    await rm(join(root, path))
    this.originals.delete(path)
    durability.noteRemoved(path)
  }
}

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const phonePath = ({ name }: Asset) => `file:///var/mobile/Media/DCIM/100APPLE/${name}`

function send(asset: Asset): Promise<Answer> {
  const { device, name, bytes } = asset
  return upload(server.url, bytes, { name, fields: { device_id: device, original_path: phonePath(asset) } })
}

/** Lists it to the server; whether it is to be sent. */
async function isWanted(asset: Asset): Promise<boolean> {
  const { device, name } = asset
  const answer = await post(server.url, '/photos/new', { device_id: device, files: [{ path: phonePath(asset), name }] })
  expect(answer.status).toBe(200)
  return answer.body.count === 1
}

const EVERYTHING = plansOf()
/** Where what follows a failure is another story's matter. */
const EACH_CALL = EVERYTHING.filter(({ fault }) => fault.startsWith('EIO'))

interface Story {
  name: string
  /** What happened before, and what is sent now. */
  begin: (scene: Scene) => Promise<Asset>
  /** Its name in the library. */
  called: string
  /**
   * Its name if what has that one can't be read, so that it is not known to be the same, can't be made durable or can't
   * be moved to quarantine: that must not stand in its way.
   */
  otherwise?: string
  /** The drive. */
  drive?: () => void
  /** Only this goes wrong; everything that can otherwise. */
  plans?: readonly Omit<Plan, 'nth'>[]
}

const STORIES: readonly Story[] = [
  {
    name: 'a new photo of a new month',
    begin: async (scene) => scene.photo(),
    called: 'IMG_0001.JPG',
  },
  {
    name: 'a new photo of a new month, on a drive behind FUSE',
    begin: async (scene) => scene.photo(),
    plans: plansOf(['open', 'close', 'stat', 'fsync']),
    called: 'IMG_0001.JPG',
    drive: () => beAs(FUSE),
  },
  {
    name: 'a new photo of a new month, on a drive without hard links',
    begin: async (scene) => scene.photo(),
    plans: EACH_CALL,
    called: 'IMG_0001.JPG',
    drive: () => faults.behave('link', async (...args) => Promise.reject(systemError('EPERM', 'link', args))),
  },
  {
    name: 'a second photo of a month',
    begin: async (scene) => {
      await scene.store(scene.photo({ name: 'IMG_0000.JPG', seed: 'first' }))
      return scene.photo()
    },
    plans: EACH_CALL,
    called: 'IMG_0001.JPG',
  },
  {
    name: 'the first photo since the start of a month that is there',
    begin: async (scene) => {
      await scene.store(scene.photo({ name: 'IMG_0000.JPG', seed: 'first' }))
      await server.restart()
      return scene.photo()
    },
    plans: EACH_CALL,
    called: 'IMG_0001.JPG',
  },
  {
    name: 'a photo whose month was made by a server that was killed then',
    begin: async (scene) => {
      await mkdir(join(root, scene.year, '07'), { recursive: true })
      durability.noteChange()
      durability.noteChange(scene.year)
      await server.restart()
      return scene.photo()
    },
    plans: plansOf(['mkdir', 'fsync']),
    called: 'IMG_0001.JPG',
  },
  {
    name: 'a photo that the library has already',
    begin: async (scene) => {
      await scene.store(scene.photo({ device: 'another phone' }))
      return scene.photo({ name: 'PHOTO.JPG' })
    },
    plans: EACH_CALL,
    called: 'IMG_0001.JPG',
  },
  {
    name: 'a photo whose file is gone',
    begin: async (scene) => {
      await scene.lose(await scene.store(scene.photo({ device: 'another phone' })))
      return scene.photo({ name: 'PHOTO.JPG' })
    },
    plans: EACH_CALL,
    called: 'IMG_0001.JPG',
  },
  {
    name: 'a photo whose file is gone and whose place is taken',
    begin: async (scene) => {
      const path = await scene.store(scene.photo({ device: 'another phone' }))
      await scene.lose(path)
      await scene.put(path, Buffer.from('something else'))
      return scene.photo()
    },
    plans: EACH_CALL,
    called: 'IMG_0001.JPG',
    otherwise: 'IMG_0001 (2).JPG',
  },
  {
    name: 'the other half of a Live Photo, larger than what is kept in memory',
    begin: async (scene) => {
      await scene.store(scene.photo({ name: 'IMG_0007.JPG' }))
      return scene.video('IMG_0007.MOV')
    },
    plans: EACH_CALL,
    called: 'IMG_0007.MOV',
  },
  {
    name: 'a photo of several writes',
    begin: async (scene) => scene.photo({ size: 2.2 * MB }),
    called: 'IMG_0001.JPG',
    plans: plansOf(['open', 'writev', 'datasync', 'closeNow', 'unlink']),
  },
  {
    name: 'a video that is flushed while it comes',
    begin: async (scene) => scene.video('IMG_0002.MOV', 33.5 * MB),
    called: 'IMG_0002.MOV',
    plans: [{ call: 'datasync', fault: 'EIO' }],
  },
  {
    name: 'a photo whose name is taken',
    begin: async (scene) => {
      await scene.put(scene.path('img_0001.jpg'), Buffer.from('a stranger'))
      return scene.photo()
    },
    plans: EACH_CALL,
    called: 'IMG_0001 (2).JPG',
  },
  {
    name: 'a photo that is there unrecorded, as a killed server leaves it',
    begin: async (scene) => {
      const photo = scene.photo()
      await scene.put(scene.path(photo.name), photo.bytes)
      durability.noteWritten(scene.path(photo.name))
      return photo
    },
    plans: EACH_CALL,
    called: 'IMG_0001.JPG',
    otherwise: 'IMG_0001 (2).JPG',
  },
  {
    name: 'a photo that an older server has stored, unread so far',
    begin: async (scene) => {
      const photo = scene.photo()
      await scene.put(scene.path('old.jpg'), photo.bytes)
      await sql`insert into files (path, size) values (${scene.path('old.jpg')}, ${photo.bytes.length})`.execute(
        server.db,
      )
      return photo
    },
    plans: plansOf(['lstat', 'open', 'openFolder', 'read', 'close', 'closeNow']),
    called: 'old.jpg',
    otherwise: 'IMG_0001.JPG',
  },
  {
    name: 'a photo while somebody has removed the staging folder',
    begin: async (scene) => {
      await rm(join(root, STAGING), { recursive: true })
      return scene.photo()
    },
    called: 'IMG_0001.JPG',
    plans: plansOf(['open', 'mkdir']),
  },
  {
    name: 'a photo just when the drive has been mounted anew',
    begin: async (scene) => {
      // Another time of change: to the server, the identity file is another one than it knew.
      await utimes(join(root, '.iclood/library.json'), new Date(), new Date())
      return scene.photo()
    },
    plans: plansOf(['lstat', 'readText', 'statfs']),
    called: 'IMG_0001.JPG',
  },
]

describe.each(named(STORIES))('%s', (_name, story) => {
  it('survives the failure of each of its calls to the drive', async () => {
    story.drive?.()
    const injected = await withEachFailure(story.plans ?? EVERYTHING, (plan) => attempt(story, plan))
    expect(injected).toBeGreaterThan(0)
    // The last of them are known after a start, too.
    await server.restart()
    for (const { asset, places } of stored.splice(0).slice(-5)) {
      const { status, body } = await send({ ...asset, device: 'one more phone' })
      expect(status).toBe(200)
      expect(places).toContain(body.backup.file_path)
    }
  })
})

it('a phone’s list with checksums is answered, or refused for now, whatever call to the drive fails: when in doubt, it is asked', async () => {
  const attempt = async (plan: Plan | undefined): Promise<Map<Call, number>> => {
    await server.restart()
    const scene = new Scene()
    const photo = scene.photo()
    await scene.store(photo)
    const file = { path: 'another', name: 'another', sha256: sha256(photo.bytes) }
    faults.arm(plan)
    const ask = () => post(server.url, '/photos/new', { device_id: 'another phone', files: [file] })
    const answer = await ask()
    const { calls } = faults.disarm()
    if (answer.status !== 200) {
      expect(answer).toMatchObject({ status: 503, body: { status: 'error', code: 'drive_error' } })
      expect(plan).toBeDefined()
    }
    const { status, body } = answer.status === 200 ? answer : await ask()
    expect(status).toBe(200)
    expect(body.count + body.backed_up_count).toBe(1)
    if (plan === undefined) expect(body.count).toBe(0)
    return calls
  }
  expect(await withEachFailure(EVERYTHING, attempt)).toBeGreaterThan(1)
})

const stored: { asset: Asset; places: readonly string[] }[] = []

/** Tells the story with this one failure, or none, and looks at what is left of it. Returns the calls to the drive. */
async function attempt(story: Story, plan: Plan | undefined): Promise<Map<Call, number>> {
  await server.restart()
  expect(await stagedIn(root)).toEqual([])
  const scene = new Scene()
  const asset = await story.begin(scene)
  expect(await isWanted(asset)).toBe(true)
  server.log()

  faults.arm(plan)
  const answer = await send(asset)
  const { calls, hasFailed } = faults.disarm()
  // What could not be removed is at the next start; whatever else has failed leaves nothing.
  const mayStay = plan !== undefined && (REMOVING.includes(plan.call) || plan.fault === 'EIO, but done')
  if (!mayStay && existsSync(join(root, STAGING))) expect(await stagedIn(root)).toEqual([])
  const places = [story.called, ...(story.otherwise === undefined ? [] : [story.otherwise])].map((name) =>
    scene.path(name),
  )
  if (plan === undefined || answer.status < 300) {
    await expectStored(scene, asset, places.slice(0, hasFailed ? 2 : 1), answer)
  } else {
    expect(hasFailed, JSON.stringify(answer.body)).toBe(true)
    await expectRefused(scene, asset, places[0] ?? '', answer, plan)
    // The same server takes it now.
    await expectStored(scene, asset, places, await send(asset))
  }
  // The same again for a large one would only take time.
  if (asset.bytes.length < 10 * MB) stored.push({ asset, places })
  return calls
}

const STAGING = '.iclood/incoming'
const REMOVING: readonly Call[] = ['close', 'closeNow', 'unlink']
/** What is called when an upload is let in, too. */
const AT_THE_DOOR: readonly Call[] = ['stat', 'readFile', 'statfs']

/** Success says that the bytes are there, whole, durable, once, and known; in one of `places`. */
async function expectStored(scene: Scene, asset: Asset, places: readonly string[], answer: Answer): Promise<void> {
  expect(answer).toMatchObject({ body: { status: 'success', backup: { status: 'Completed' } } })
  expect([200, 201]).toContain(answer.status)
  const target: string = answer.body.backup.file_path
  expect(places).toContain(target)
  expect((await readFile(join(root, target))).equals(asset.bytes)).toBe(true)
  expect(await listYear(scene)).toEqual(new Map([...(await expectedOf(scene)), [target, sha256(asset.bytes)]]))
  expect(durability.survives(target), 'it would outlive a power cut').toBe(true)
  expect(await isWanted(asset)).toBe(false)
  await expectTidy()
}

/** Failure is said clearly, and nothing has come of it. */
async function expectRefused(scene: Scene, asset: Asset, target: string, answer: Answer, plan: Plan): Promise<void> {
  const isFull = plan.fault.includes('ENOSPC')
  expect(answer).toMatchObject({
    status: isFull ? 507 : 503,
    body: { status: 'error', code: isFull ? 'disk_full' : 'drive_error', message: expect.any(String) },
  })
  expect(Object.keys(answer.body)).toHaveLength(3)
  expect(answer.body.message).not.toContain(root)
  expect(answer.body.message).not.toMatch(/E[A-Z]{2,}|syscall|select|insert|undefined/)
  expect(answer.body.message).toMatch(/drive/)
  if (!isFull) expect(answer.headers.get('retry-after')).toMatch(/^\d+$/)
  expect(server.log(), 'the log has the reason').toMatch(isFull ? /ENOSPC/ : /EIO/)

  const { rows } = await sql<{ status: string; failure: string }>`
    select status, failure from backups where device_id = ${asset.device} and original_path = ${phonePath(asset)}
  `.execute(server.db)
  // Which asset it is comes behind the file: the row of one that was refused before waits as it was.
  const isTold = rows[0]?.status === 'Failed' || !(AT_THE_DOOR.includes(plan.call) || asset.bytes.length > MB)
  expect(rows).toEqual([
    isTold ? { status: 'Failed', failure: answer.body.message } : { status: 'Pending', failure: null },
  ])

  // What is visible is whole, and what was there is as it was. A name that may be lost is given back.
  const left = await listYear(scene)
  const isUnrecorded = plan.call !== 'fsync' && left.get(target) === sha256(asset.bytes)
  const expected = await expectedOf(scene)
  if (isUnrecorded) expected.set(target, sha256(asset.bytes))
  expect(left).toEqual(expected)
  await expectTidy()
}

/** What lay there before; what is not an original of the library's may have been moved to quarantine, whole. */
async function expectedOf(scene: Scene): Promise<Map<string, string>> {
  const quarantined = new Set((await list(`.iclood/quarantine/${scene.year}`)).values())
  return new Map([...scene.originals].filter(([, checksum]) => !quarantined.has(checksum)))
}

function listYear(scene: Scene): Promise<Map<string, string>> {
  return list(scene.year)
}

/** The files below a folder of the library, and their checksums. */
async function list(folder: string): Promise<Map<string, string>> {
  if (!existsSync(join(root, folder))) return new Map()
  const paths = (await originalsIn(join(root, folder))).map((path) => `${folder}/${path}`)
  return new Map(
    await Promise.all(paths.map(async (path) => [path, sha256(await readFile(join(root, path)))] as const)),
  )
}

/** Nothing is held on to: no space, no descriptor. */
async function expectTidy(): Promise<void> {
  await expect(server.library.space.reserve(2 ** 60)).rejects.toMatchObject({
    message: expect.stringContaining(' 0 are promised to other uploads'),
  })
  if (process.platform === 'linux') expect(openIn(root)).toEqual([])
}
