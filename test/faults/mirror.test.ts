import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { forgetMirror as forget, listMirrors } from '../../src/catalogue/places.ts'
import { MIRROR_NOTE } from '../../src/format/layout.ts'
import { Copier } from '../../src/mirror/copier.ts'
import { Heard } from '../../src/mirror/heard.ts'
import { createMirror, type Mirror } from '../../src/mirror/mirror.ts'
import { establishMirror } from '../../src/mirror/open.ts'
import { Postponed } from '../../src/mirror/postponed.ts'
import { Committer } from '../../src/storage/commit.ts'
import { Drive } from '../../src/storage/drive.ts'
import { readIdentity } from '../../src/storage/identity.ts'
import { JournalCopy } from '../../src/storage/journal/copy.ts'
import { openJournal } from '../../src/storage/journal/reader.ts'
import { JournalWriter } from '../../src/storage/journal/writer.ts'
import { clearStaging } from '../../src/storage/staging.ts'
import { verifyOriginal } from '../../src/verify/verify-original.ts'
import { originalsIn, stagedIn } from '../support/drives.ts'
import { Durability } from '../support/durability.ts'
import { type Call, type Faults, injectFaults, named, type Plan, plansOf, withEachFailure } from '../support/faults.ts'
import { openIn } from '../support/in-process.ts'
import { backupRecord } from '../support/journal.ts'
import { noise } from '../support/media.ts'
import { isSame, type Mirrored, makeMirrored } from '../support/mirrored.ts'
import { makeFolder, removeFolder } from '../support/server.ts'

const quiet = { onMissing: () => {}, onReturned: () => {} }

/** Where what follows a failure is another story's matter. */
const EACH_CALL = plansOf().filter(({ fault }) => fault === 'EIO')

let folder: string
let home: Mirrored
let faults: Faults
beforeAll(async () => {
  folder = await makeFolder(existsSync('/dev/shm') ? '/dev/shm' : undefined)
  home = await makeMirrored(join(folder, 'library'))
  faults = injectFaults()
  faults.behave('fsync', async () => {})
  faults.behave('datasync', async () => {})
})
afterAll(async () => {
  faults.restore()
  await home.close()
  await removeFolder(folder)
})

/** Opens the mirror in `root`, as a server that has just been started. */
async function openMirror(root: string): Promise<Mirror> {
  const { id, identity } = await establishMirror(home.library, root)
  const drive = new Drive(root, identity, quiet)
  await clearStaging(drive)
  return createMirror(home.library, id, drive, 0)
}

describe('a copy', () => {
  interface Story {
    name: string
    /** What lies in the place of the copy of `bytes` before. */
    lies?: (bytes: Buffer) => Buffer
    plans?: ReturnType<typeof plansOf>
  }
  const STORIES: readonly Story[] = [
    { name: 'of an original of a new month' },
    { name: 'that is there already', lies: (bytes) => bytes, plans: EACH_CALL },
    {
      name: 'in whose place something else lies',
      lies: (bytes) => Buffer.alloc(bytes.length),
      plans: EACH_CALL,
    },
  ]
  let root: string
  let durability: Durability
  let count = 0
  beforeAll(async () => {
    root = join(folder, 'mirror')
    await openMirror(root)
    durability = new Durability(root)
    faults.watch(durability)
  })

  it.each(named(STORIES))('%s survives the failure of each call to the drives', async (_name, story) => {
    const attempt = async (plan: Plan | undefined): Promise<Map<Call, number>> => {
      count++
      const bytes = noise(20_000, `copy ${count}`)
      const path = await home.put(`${1900 + count}/07/IMG_0001.JPG`, bytes)
      const there = story.lies?.(bytes)
      if (there !== undefined) {
        await mkdir(dirname(join(root, path)), { recursive: true })
        await writeFile(join(root, path), there)
        durability.noteDurable(path)
        durability.noteWritten(path)
      }
      const mirror = await openMirror(root)
      const [heard, postponed] = [new Heard(), new Postponed()]
      const suspected: string[] = []
      const copier = new Copier(mirror, heard, postponed, {
        signal: new AbortController().signal,
        pause: async () => {},
        suspect: async (path) => {
          suspected.push(path)
          expect(await verifyOriginal(home.library, path)).toMatchObject({ state: 'intact' })
        },
      })
      const isRight = async () => {
        const isCopied = (await home.copies()).includes(path)
        // A row only for what is there, whole and durable; what is visible is whole.
        if (isCopied) {
          expect(await isSame(path, home.root, root)).toBe(true)
          expect(durability.survives(path)).toBe(true)
        } else if (existsSync(join(root, path))) {
          expect([bytes, there]).toContainEqual(await readFile(join(root, path)))
        }
        expect((await readFile(join(home.root, path))).equals(bytes)).toBe(true)
        if (process.platform === 'linux') expect(openIn(folder)).toEqual([])
        return isCopied
      }

      heard.hear([path])
      faults.arm(plan)
      const failure: unknown = await copier.copyNext().then(
        () => undefined,
        (error: unknown) => error,
      )
      const { calls, hasFailed } = faults.disarm()
      if (failure !== undefined) {
        expect(failure).toMatchObject({ code: plan?.fault.includes('ENOSPC') ? 'disk_full' : 'drive_error' })
      }
      const isCopied = await isRight()
      if (!isCopied) {
        expect(hasFailed).toBe(true)
        // Somebody hears of it.
        expect(failure !== undefined || postponed.trouble !== undefined || suspected.length > 0).toBe(true)
        // Tried again, it works.
        postponed.retry()
        while (await copier.copyNext());
        expect(await isRight()).toBe(true)
      }
      await clearStaging(mirror.drive)
      expect(await stagedIn(root)).toEqual([])
      expect(await originalsIn(join(root, dirname(path)))).toEqual(['IMG_0001.JPG'])
      return calls
    }
    expect(await withEachFailure(story.plans ?? plansOf(), attempt)).toBeGreaterThan(20)
  })
})

/** A folder for one try. */
async function withFolder<Result>(work: (folder: string) => Promise<Result>): Promise<Result> {
  const own = await mkdtemp(join(folder, 'try-'))
  try {
    return await work(own)
  } finally {
    await rm(own, { recursive: true })
  }
}

it('the copy of the journal is one that can be read, whatever call fails', async () => {
  const { drive, committer } = home.library
  const writer = new JournalWriter(drive, committer, () => new Date())
  const attempt = (plan: Plan | undefined): Promise<Map<Call, number>> =>
    withFolder(async (root) => {
      const mirror = new Drive(root, await establishFresh(root), quiet)
      await mirror.check()
      const durability = new Durability(root)
      faults.watch(durability)
      const ids = async (root: string) => {
        const reading = await openJournal(root, [drive.id])
        const found = new Set<number>()
        for await (const record of reading?.records ?? []) if ('id' in record) found.add(record.id)
        expect(reading?.damaged() ?? 0).toBe(0)
        return [...found]
      }
      const afterCut = async () => {
        const left = join(root, 'left')
        durability.writeTo(left)
        const found = await ids(left)
        await rm(left, { recursive: true })
        return found
      }
      await writer.writeSnapshot(pages(1, 2))
      const copy = new JournalCopy(drive, mirror, new Committer(mirror))
      await copy.update()
      // Its log, and a snapshot in the place of what was there.
      await writer.append([backupRecord(3)])
      await writer.writeSnapshot(pages(1, 2, 3))
      await writer.append([backupRecord(4)])

      faults.arm(plan)
      const failure: unknown = await copy.update().then(
        () => undefined,
        (error: unknown) => error,
      )
      const { calls } = faults.disarm()
      if (failure !== undefined) {
        const code = plan?.fault.includes('ENOSPC') ? 'disk_full' : 'drive_error'
        expect(failure).toMatchObject({ code })
      }
      for (const found of [await ids(root), await afterCut()]) {
        expect(found).toEqual(expect.arrayContaining(failure === undefined ? [1, 2, 3, 4] : [1, 2]))
      }
      await copy.update()
      for (const found of [await ids(root), await afterCut()]) expect(found.sort()).toEqual([1, 2, 3, 4])
      return calls
    })
  expect(await withEachFailure(EACH_CALL, attempt)).toBeGreaterThan(20)

  async function* pages(...ids: number[]) {
    yield ids.map((id) => backupRecord(id))
  }
})

async function forgetMirror(): Promise<void> {
  for (const { id } of await listMirrors(home.db)) await forget(home.db, id)
  await rm(join(home.root, MIRROR_NOTE), { force: true })
}

/** Makes the folder a mirror of the library, whatever mirror it has. */
async function establishFresh(root: string): Promise<string> {
  await forgetMirror()
  return (await establishMirror(home.library, root)).identity
}

it('a folder becomes the mirror once, whatever call fails', async () => {
  const attempt = (plan: Plan | undefined): Promise<Map<Call, number>> =>
    withFolder(async (own) => {
      const root = join(own, 'mirror')
      await forgetMirror()
      faults.arm(plan)
      const failure: unknown = await establishMirror(home.library, root).then(
        () => undefined,
        (error: unknown) => error,
      )
      const { calls } = faults.disarm()
      if (failure !== undefined) {
        const code = plan?.fault.includes('ENOSPC') ? 'disk_full' : 'drive_error'
        expect(failure).toMatchObject({ code })
      }
      const { identity: id } = await establishMirror(home.library, root)
      expect(await readIdentity(root)).toBe(id)
      expect(await establishMirror(home.library, root)).toMatchObject({ identity: id })
      return calls
    })
  expect(await withEachFailure(plansOf(), attempt)).toBeGreaterThan(20)
})
