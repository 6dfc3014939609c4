import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readIdentity } from '../../src/storage/identity.ts'
import { openJournal } from '../../src/storage/journal/reader.ts'
import { startCommand } from '../support/command.ts'
import { JOURNAL, journalIn, sha256sum } from '../support/journal.ts'
import { jpeg } from '../support/media.ts'
import { upload } from '../support/phone.ts'
import { freePort } from '../support/ports.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { makeFolder, removeFolder } from '../support/server.ts'
import { endingAt, type Moment, type StoppableServer, startStoppable } from '../support/stoppable.ts'
import { until } from '../support/until.ts'

/* The rows of the journal's crash table in docs/design.md, under their names; see crash-table.test.ts. */

let folder: string
let database: TestDatabase
let server: StoppableServer
/** Paths in the library of all photos that were stored. */
const stored: string[] = []
beforeAll(async () => {
  folder = await makeFolder()
  database = await startTestDatabase()
  await start()
})
afterAll(async () => {
  await server.stop()
  await database.drop()
  await removeFolder(folder)
})

async function start(): Promise<void> {
  server = await startStoppable(folder, { DATABASE_URL: database.url })
}

/** Stores a photo of a month in which there is none yet. */
async function store(): Promise<string> {
  const year = String(2001 + stored.length)
  const bytes = jpeg({ date: `${year}:07:01 12:00:00`, seed: year })
  const answer = await upload(server.url, bytes, { name: 'IMG_0001.JPG', fields: { device_id: `iPhone of ${year}` } })
  expect(answer).toMatchObject({ status: 201 })
  const path = answer.body.backup.file_path
  stored.push(path)
  return path
}

/** The paths of the originals that the journal knows. */
async function journaled(): Promise<Set<string>> {
  const id = await readIdentity(server.library)
  const reading = await openJournal(server.library, id === undefined ? [] : [id])
  const paths = new Set<string>()
  for await (const record of reading?.records ?? []) {
    if (record.type === 'backup' && record.original !== null) paths.add(record.original.path)
  }
  expect(reading?.damaged() ?? 0).toBe(0)
  return paths
}

/** After the next start the drive describes itself as a whole, with nothing left over. */
async function expectCompleteAfterStart(): Promise<void> {
  await start()
  await until('the journal is a snapshot with everything', async () => {
    const names = await journalIn(server.library)
    return names.length === 1 && names[0]?.endsWith('-snapshot.jsonl') && (await journaled()).size === stored.length
  })
  await until('the months have their sums', async () => {
    const results = await Promise.all(
      stored.map((path) => sha256sum(join(server.library, path, '..')).catch(() => null)),
    )
    return results.every((result) => result?.code === 0)
  })
}

/** Stores a photo on a server that ends at that moment; what it leaves is for `look`. */
async function crash(moment: Moment, look: (path: string) => Promise<void>): Promise<void> {
  await server.stopAt(moment)
  const path = await store()
  await server.ended()
  await look(path)
  await expectCompleteAfterStart()
}

/** The server ends while the next start writes its snapshot; what that leaves is for `look`. */
async function crashAtStart(moment: Moment, look: () => Promise<void>): Promise<void> {
  const path = await store()
  await until('it is in the journal', async () => (await journaled()).has(path))
  await server.kill()
  const env = { DATABASE_URL: database.url, PORT: String(await freePort()), ...(await endingAt(folder, moment)) }
  expect(await startCommand(folder, ['serve'], env).result).toMatchObject({ code: null })
  expect((await journaled()).size).toBe(stored.length)
  await look()
  await expectCompleteAfterStart()
}

const LOG = /\/journal\/\d+-log\.jsonl/

describe('the journal', () => {
  it('1 note', () =>
    crash({ when: 'before', call: ['open', 'openOwn'], path: LOG }, async (path) => {
      expect(await journaled()).not.toContain(path)
    }))

  it('2 append', () =>
    crash({ when: 'after', call: ['writev'], path: LOG }, async () => {
      // What was there before is there, whatever has become of the last lines.
      expect((await journaled()).size).toBeGreaterThanOrEqual(stored.length - 1)
    }))

  it('3 flush', () =>
    crash({ when: 'after', call: ['datasync'], path: LOG }, async (path) => {
      expect(await journaled()).toContain(path)
      expect(await readdir(join(server.library, path, '..'))).toEqual(['IMG_0001.JPG'])
    }))

  it('4 sums', () =>
    crash({ when: 'after', call: ['rename'], path: /\/\d{4}\/07\/SHA256SUMS$/ }, async (path) => {
      expect(await journaled()).toContain(path)
      expect(await sha256sum(join(server.library, path, '..'))).toMatchObject({ code: 0 })
    }))

  it('5 rotate', () =>
    crashAtStart({ when: 'before', call: ['open'], path: /-snapshot\.jsonl\.part/ }, async () => {
      expect((await journalIn(server.library)).filter((name) => name.endsWith('.part'))).toEqual([])
    }))

  it('6 snapshot', () =>
    crashAtStart({ when: 'before', call: ['rename'], path: /-snapshot\.jsonl$/ }, async () => {
      const [unfinished, ...more] = (await journalIn(server.library)).filter((name) => name.endsWith('.part'))
      expect(more).toEqual([])
      const text = await readFile(join(server.library, JOURNAL, unfinished ?? ''), 'utf8')
      expect(text.split('\n').at(-2)).toMatch(/^{"type":"end"/)
    }))

  it('7 prune', () =>
    crashAtStart({ when: 'after', call: ['unlinkFile'], path: /\/journal\/\d+-snapshot\.jsonl$/ }, async () => {
      const names = await journalIn(server.library)
      expect(names.filter((name) => name.endsWith('-snapshot.jsonl'))).toHaveLength(1)
      expect(names.length).toBeGreaterThan(1)
    }))
})
