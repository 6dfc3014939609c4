import { existsSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createLibrary, type Library } from '../../src/archive/library.ts'
import type { LibraryPath } from '../../src/format/layout.ts'
import { Drive } from '../../src/storage/drive.ts'
import { clearStaging } from '../../src/storage/staging.ts'
import { lostAndUnread } from '../../src/verify/lost-and-unread.ts'
import { verifyOriginal } from '../../src/verify/verify-original.ts'
import { originalsIn, stagedIn } from '../support/drives.ts'
import { Durability } from '../support/durability.ts'
import { type Call, type Faults, injectFaults, named, type Plan, plansOf, withEachFailure } from '../support/faults.ts'
import { openIn } from '../support/in-process.ts'
import { noise } from '../support/media.ts'
import { type Mirrored, makeMirrored, sha256 } from '../support/mirrored.ts'
import { makeFolder, removeFolder } from '../support/server.ts'

/** Where what follows a failure is another story's matter. */
const EACH_CALL = plansOf().filter(({ fault }) => fault === 'EIO')

let folder: string
let home: Mirrored
let faults: Faults
let durability: Durability
beforeAll(async () => {
  folder = await makeFolder(existsSync('/dev/shm') ? '/dev/shm' : undefined)
  home = await makeMirrored(join(folder, 'library'))
  faults = injectFaults()
  faults.behave('fsync', async () => {})
  faults.behave('datasync', async () => {})
  durability = new Durability(home.root)
  faults.watch(durability)
})
afterAll(async () => {
  faults.restore()
  await home.close()
  await removeFolder(folder)
})

/** As a server, or a command, that has just been started. */
async function openLibrary(): Promise<Library> {
  const drive = new Drive(home.root, home.library.drive.id, { onMissing: () => {}, onReturned: () => {} })
  await clearStaging(drive)
  return createLibrary(home.db, drive, {
    minFreeSpace: 0,
    timeZone: 'UTC',
    lostAndUnread,
    now: () => new Date(),
  })
}

interface Story {
  name: string
  /** What lies in its place: nothing, or these bytes; the original itself if it is not said. */
  lies?: Buffer | null
  /** Whether the same content is intact elsewhere. */
  hasTwin?: true
  /** What comes of it. */
  becomes: 'intact' | 'lost'
  plans?: ReturnType<typeof plansOf>
}

const WRONG = Buffer.alloc(20_000)
const STORIES: readonly Story[] = [
  { name: 'an intact original', becomes: 'intact' },
  { name: 'a corrupt one, moved to quarantine', lies: WRONG, becomes: 'lost', plans: EACH_CALL },
  { name: 'a corrupt one, put back from another file', lies: WRONG, hasTwin: true, becomes: 'intact' },
  {
    name: 'a missing one, put back from another file',
    lies: null,
    hasTwin: true,
    becomes: 'intact',
    plans: EACH_CALL,
  },
]

let count = 0

it.each(named(STORIES))('verifying %s survives the failure of each call to the drive', async (_name, story) => {
  const attempt = async (plan: Plan | undefined): Promise<Map<Call, number>> => {
    count++
    const year = String(1900 + count)
    const bytes = noise(20_000, `original ${count}`)
    const twin = story.hasTwin && (await home.put(`${year}/06/twin.jpg`, bytes))
    const path = await home.put(`${year}/07/IMG_0001.JPG`, bytes)
    for (const name of await originalsIn(join(home.root, year))) durability.noteDurable(`${year}/${name}`)
    if (story.lies !== undefined) {
      await rm(join(home.root, path))
      durability.noteRemoved(path)
    }
    if (story.lies) {
      await writeFile(join(home.root, path), story.lies)
      durability.noteDurable(path)
    }
    const library = await openLibrary()

    faults.arm(plan)
    const failure: unknown = await verifyOriginal(library, path).then(
      () => undefined,
      (error: unknown) => error,
    )
    const { calls, hasFailed } = faults.disarm()
    if (failure !== undefined) {
      expect(hasFailed).toBe(true)
      expect(failure).toMatchObject({ code: plan?.fault.includes('ENOSPC') ? 'disk_full' : 'drive_error' })
    }
    await expectSound(path, bytes, story)
    if (twin !== undefined) expect((await readFile(join(home.root, twin))).equals(bytes)).toBe(true)
    // What is intact never counts as lost.
    if (story.lies === undefined) expect(await isLost(path)).toBe(false)

    // The next pass of the same server, then that of another one.
    await verifyOriginal(library, path)
    await verifyOriginal(await openLibrary(), path)
    await expectSound(path, bytes, story)
    expect(await isLost(path)).toBe(story.becomes === 'lost')
    expect(existsSync(join(home.root, path))).toBe(story.becomes === 'intact')
    expect(await stagedIn(home.root)).toEqual([])
    if (process.platform === 'linux') expect(openIn(folder)).toEqual([])
    return calls
  }
  expect(await withEachFailure(story.plans ?? plansOf(), attempt)).toBeGreaterThan(5)
})

async function isLost(path: LibraryPath): Promise<boolean> {
  const { rows } = await sql<{ lost: boolean }>`
    select lost_at is not null as lost from originals where path = ${path}
  `.execute(home.db)
  return rows[0]?.lost ?? true
}

/** The catalogue says that it is there only if it is; nothing was deleted or altered. */
async function expectSound(path: LibraryPath, bytes: Buffer, { lies }: Story): Promise<void> {
  const there = existsSync(join(home.root, path)) ? await readFile(join(home.root, path)) : undefined
  const isIntact = there?.equals(bytes) === true
  if (!isIntact && lies) {
    const quarantine = join(home.root, '.iclood/quarantine', path, '..')
    const kept = existsSync(quarantine) ? await originalsIn(quarantine) : []
    const moved = await Promise.all(kept.map((name) => readFile(join(quarantine, name))))
    expect([there, ...moved].some((one) => one?.equals(lies))).toBe(true)
  }
  // Until it has been looked at, it may be thought to be there.
  if (isIntact && !(await isLost(path))) expect(durability.survives(path), sha256(bytes)).toBe(true)
}
