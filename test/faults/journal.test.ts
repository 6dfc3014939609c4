import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { JournalRecord } from '../../src/format/journal-record.ts'
import { monthFolder } from '../../src/format/layout.ts'
import type { Checksum } from '../../src/media/checksum.ts'
import { Committer } from '../../src/storage/commit.ts'
import type { Drive } from '../../src/storage/drive.ts'
import { openJournal } from '../../src/storage/journal/reader.ts'
import { JournalWriter } from '../../src/storage/journal/writer.ts'
import { SumsFiles } from '../../src/storage/sums.ts'
import { Durability } from '../support/durability.ts'
import { type Call, type Faults, injectFaults, named, type Plan, plansOf, withEachFailure } from '../support/faults.ts'
import { openIn } from '../support/in-process.ts'
import { backupRecord } from '../support/journal.ts'
import { openLibrary } from '../support/library.ts'
import { parseSums } from '../support/sums.ts'

/** Where what follows a failure is another story's matter. */
const EACH_CALL = plansOf().filter(({ fault }) => fault === 'EIO')

let faults: Faults
beforeAll(() => {
  faults = injectFaults()
  faults.behave('fsync', async () => {})
  faults.behave('datasync', async () => {})
})
afterAll(() => faults.restore())

/** A library of its own for one try. */
interface Scene {
  root: string
  drive: Drive
  durability: Durability
}

async function inScene(work: (scene: Scene) => Promise<void>): Promise<void> {
  const root = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'iclood-faults-'))
  try {
    const { drive } = await openLibrary(root)
    const durability = new Durability(root)
    faults.watch(durability)
    await work({ root, drive, durability })
    if (process.platform === 'linux') expect(openIn(root)).toEqual([])
  } finally {
    await rm(root, { recursive: true })
  }
}

/** What `act` does with this one failure: whether it succeeds, or a clear error. */
async function outcome(plan: Plan | undefined, act: () => Promise<void>) {
  faults.arm(plan)
  const failure: unknown = await act().then(
    () => undefined,
    (error: unknown) => error,
  )
  const { calls, hasFailed } = faults.disarm()
  if (failure !== undefined) {
    expect(hasFailed).toBe(true)
    expect(failure).toMatchObject({ code: plan?.fault.includes('ENOSPC') ? 'disk_full' : 'drive_error' })
  }
  return { calls, isDone: failure === undefined }
}

/** Calls `look` on the library as it is, and on what would be left of it after a power cut now. */
async function nowAndAfterCut({ root, durability }: Scene, look: (root: string) => Promise<void>): Promise<void> {
  await look(root)
  const left = `${root}-left`
  durability.writeTo(left)
  try {
    await look(left)
  } finally {
    await rm(left, { recursive: true })
  }
}

describe('the journal', () => {
  interface Story {
    name: string
    /** Writes 1 and 2 in some way; returns the writer to go on with. */
    begin: (newWriter: () => JournalWriter) => Promise<JournalWriter>
    /** What goes wrong; everything that can otherwise. */
    plans?: typeof EACH_CALL
    /** Writes 3. */
    act: (writer: JournalWriter) => Promise<void>
  }
  const append = (writer: JournalWriter, ...ids: number[]) => writer.append(ids.map((id) => backupRecord(id)))
  async function* snapshot(): AsyncGenerator<JournalRecord[]> {
    yield [backupRecord(1), backupRecord(2)]
    yield [backupRecord(3)]
  }

  const STORIES: readonly Story[] = [
    {
      name: 'its first lines',
      begin: async (newWriter) => newWriter(),
      act: (writer) => append(writer, 1, 2, 3),
    },
    {
      name: 'lines at the end of a log',
      begin: async (newWriter) => {
        const writer = newWriter()
        await append(writer, 1, 2)
        return writer
      },
      act: (writer) => append(writer, 3),
    },
    {
      name: 'the first lines of a run',
      plans: EACH_CALL,
      begin: async (newWriter) => {
        await append(newWriter(), 1, 2)
        return newWriter()
      },
      act: (writer) => append(writer, 3),
    },
    {
      name: 'a snapshot',
      begin: async (newWriter) => {
        await append(newWriter(), 1)
        const writer = newWriter()
        await append(writer, 2)
        return writer
      },
      act: (writer) => writer.writeSnapshot(snapshot()),
    },
    {
      name: 'a snapshot in the place of another',
      plans: EACH_CALL,
      begin: async (newWriter) => {
        const writer = newWriter()
        await writer.writeSnapshot(snapshot())
        await append(writer, 2)
        return newWriter()
      },
      act: (writer) => writer.writeSnapshot(snapshot()),
    },
  ]

  async function read(root: string, id: string): Promise<Set<number>> {
    const reading = await openJournal(root, [id])
    const ids = new Set<number>()
    for await (const record of reading?.records ?? []) if ('id' in record) ids.add(record.id)
    expect(reading?.damaged() ?? 0).toBe(0)
    return ids
  }

  it.each(named(STORIES))(
    '%s: no failure of a call to the drive loses what was written before',
    async (_name, story) => {
      const attempt = async (plan: Plan | undefined): Promise<Map<Call, number>> => {
        let made = new Map<Call, number>()
        await inScene(async (scene) => {
          const newWriter = () => new JournalWriter(scene.drive, new Committer(scene.drive), () => new Date())
          const writer = await story.begin(newWriter)
          const before = await read(scene.root, scene.drive.id)
          const { calls, isDone } = await outcome(plan, () => story.act(writer))
          made = calls
          const expectAll = (ids: Iterable<number>) =>
            nowAndAfterCut(scene, async (root) => {
              const found = await read(root, scene.drive.id)
              for (const id of ids) expect(found).toContain(id)
            })
          await expectAll(isDone ? [1, 2, 3] : before)
          // The same writer goes on, and so does the next run.
          if (!isDone) await story.act(writer)
          await append(writer, 4)
          await append(newWriter(), 5)
          await expectAll([1, 2, 3, 4, 5])
        })
        return made
      }
      expect(await withEachFailure(story.plans ?? plansOf(), attempt)).toBeGreaterThan(0)
    },
  )
})

describe('a SHA256SUMS', () => {
  const JULY = monthFolder(2024, 7)
  const sum = (digit: string) => digit.repeat(64) as Checksum
  const ALL = new Map([
    ['a.jpg', sum('a')],
    ['b.jpg', sum('b')],
  ])
  interface Story {
    name: string
    begin: (sums: SumsFiles, path: string) => Promise<void>
    act: (sums: SumsFiles) => Promise<void>
  }
  const STORIES: readonly Story[] = [
    {
      name: 'written for the first time',
      begin: async () => {},
      act: (sums) => sums.repair(JULY, ALL),
    },
    {
      name: 'appended to',
      begin: (sums) => sums.repair(JULY, new Map([['a.jpg', sum('a')]])),
      act: async (sums) => {
        expect(await sums.add(JULY, new Map([['b.jpg', sum('b')]]))).toBe(true)
      },
    },
    {
      name: 'replaced since its last line is torn',
      begin: async (sums, path) => {
        await sums.repair(JULY, ALL)
        await writeFile(path, (await readFile(path, 'utf8')).slice(0, -20))
      },
      act: (sums) => sums.repair(JULY, ALL),
    },
  ]

  it.each(named(STORIES))(
    '%s: a failure of a call to the drive leaves it as it was, or torn, until the next try',
    async (_name, story) => {
      const attempt = async (plan: Plan | undefined): Promise<Map<Call, number>> => {
        let made = new Map<Call, number>()
        await inScene(async (scene) => {
          const folder = join(scene.root, JULY)
          const path = join(folder, 'SHA256SUMS')
          await mkdir(folder, { recursive: true })
          for (const name of ALL.keys()) await writeFile(join(folder, name), '')
          for (const name of ALL.keys()) scene.durability.noteDurable(`${JULY}/${name}`)
          const sums = new SumsFiles(scene.drive, new Committer(scene.drive), () => new Date())
          await story.begin(sums, path)
          const { calls, isDone } = await outcome(plan, () => story.act(sums))
          made = calls
          // No line says anything wrong.
          const text = existsSync(path) ? await readFile(path, 'utf8') : ''
          for (const [name, checksum] of parseSums(text).sums) expect(ALL.get(name)).toBe(checksum)
          if (!isDone) await sums.repair(JULY, ALL)
          const isRight = async (root: string) => {
            const { sums, isClean } = parseSums(await readFile(join(root, JULY, 'SHA256SUMS'), 'utf8'))
            expect({ sums: [...sums].sort(), isClean }).toEqual({ sums: [...ALL], isClean: true })
          }
          // After a cut the next start compares them all.
          await (isDone ? nowAndAfterCut(scene, isRight) : isRight(scene.root))
          expect((await readdir(folder)).sort()).toEqual(['SHA256SUMS', 'a.jpg', 'b.jpg'])
        })
        return made
      }
      expect(await withEachFailure(plansOf(), attempt)).toBeGreaterThan(0)
    },
  )
})
