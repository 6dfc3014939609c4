import { readdir, readFile, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
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
let client: pg.Client
let server: StoppableServer
/** Paths in the library of all photos that were stored. */
const stored: string[] = []
beforeAll(async () => {
  folder = await makeFolder()
  database = await startTestDatabase()
  client = new pg.Client(database.connection)
  await client.connect()
  await start()
  await untilWritten()
})
afterAll(async () => {
  await server.stop()
  await client.end()
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

/** What is not on the drive yet. */
async function outbox(): Promise<{ what: string; key: string }[]> {
  return (await client.query('select what, key from outbox order by seq')).rows
}

const untilWritten = () => until('everything is on the drive', async () => (await outbox()).length === 0)

/** How often the journal tells of each original that it knows. */
async function journaled(): Promise<Map<string, number>> {
  const id = await readIdentity(server.library)
  const reading = await openJournal(server.library, id === undefined ? [] : [id])
  const paths = new Map<string, number>()
  for await (const record of reading?.records ?? []) {
    if (record.type !== 'backup' || record.original === null) continue
    paths.set(record.original.path, (paths.get(record.original.path) ?? 0) + 1)
  }
  expect(reading?.damaged() ?? 0).toBe(0)
  return paths
}

const snapshots = async () => (await journalIn(server.library)).filter((name) => name.includes('-snapshot'))

/** After the next start the drive describes itself as a whole, with nothing left over. */
async function expectCompleteAfterStart(): Promise<void> {
  await start()
  await untilWritten()
  expect([...(await journaled()).keys()].sort()).toEqual([...stored].sort())
  for (const path of stored) expect(await sha256sum(join(server.library, path, '..'))).toMatchObject({ code: 0 })
  expect(await snapshots()).toHaveLength(1)
}

/** Stores a photo on a server that ends at that moment; what it leaves is for `look`. No snapshot is needed then. */
async function crash(moment: Moment, look: (path: string) => Promise<void>): Promise<string> {
  await server.stopAt(moment)
  const path = await store()
  await server.ended()
  await look(path)
  // None of it is taken out of the outbox.
  expect(await outbox()).toContainEqual({ what: 'original', key: path })
  const before = await snapshots()
  await expectCompleteAfterStart()
  expect(await snapshots()).toEqual(before)
  return path
}

/** The server ends while the next start writes a snapshot; what that leaves is for `look`. */
async function crashAtSnapshot(moment: Moment, look: () => Promise<void>): Promise<void> {
  await store()
  await untilWritten()
  await server.kill()
  await client.query(`insert into outbox (what, key) values ('snapshot', '')`)
  const env = { DATABASE_URL: database.url, PORT: String(await freePort()), ...(await endingAt(folder, moment)) }
  expect(await startCommand(folder, ['serve'], env).result).toMatchObject({ code: null })
  expect((await journaled()).size).toBe(stored.length)
  await look()
  expect(await outbox()).toContainEqual({ what: 'snapshot', key: '' })
  await expectCompleteAfterStart()
}

const LOG = /\/journal\/\d+-log\.jsonl/

describe('the journal', () => {
  it('1 change', async () => {
    await crash({ when: 'before', call: ['open', 'openOwn'], path: LOG }, async (path) => {
      expect(await journaled()).not.toContain(path)
    })
  })

  it('2 append', async () => {
    await crash({ when: 'after', call: ['writev'], path: LOG }, async () => {
      // What was there before is there, whatever has become of the last lines.
      expect((await journaled()).size).toBeGreaterThanOrEqual(stored.length - 1)
    })
  })

  it('3 flush', async () => {
    const path = await crash({ when: 'after', call: ['datasync'], path: LOG }, async (path) => {
      expect((await journaled()).get(path)).toBe(1)
      expect(await readdir(join(server.library, path, '..'))).toEqual(['IMG_0001.JPG'])
    })
    expect((await journaled()).get(path)).toBe(2)
  })

  it('4 sums', async () => {
    const path = await store()
    await untilWritten()
    const SUMS = new RegExp(`/${path.slice(0, 7)}/SHA256SUMS$`)
    await server.stopAt({ when: 'after', call: ['writev'], path: SUMS })
    const bytes = jpeg({ date: `${path.slice(0, 4)}:07:01 12:00:00`, seed: 'another of that month' })
    expect(await upload(server.url, bytes, { name: 'IMG_0002.JPG' })).toMatchObject({ status: 201 })
    stored.push(`${path.slice(0, 7)}/IMG_0002.JPG`)
    await server.ended()
    expect((await outbox()).map(({ what }) => what).sort()).toEqual(['backup', 'original'])
    // As if the last line had been cut off.
    const sums = join(server.library, path, '../SHA256SUMS')
    await truncate(sums, (await stat(sums)).size - 20)
    await expectCompleteAfterStart()
  })

  it('5 settle', async () => {
    const path = await store()
    await untilWritten()
    await server.kill()
    const before = await journalIn(server.library)
    await expectCompleteAfterStart()
    expect((await journaled()).get(path)).toBe(1)
    expect(await journalIn(server.library)).toEqual(before)
  })

  it('6 rotate', () =>
    crashAtSnapshot({ when: 'before', call: ['open'], path: /-snapshot\.jsonl\.part/ }, async () => {
      expect((await journalIn(server.library)).filter((name) => name.endsWith('.part'))).toEqual([])
    }))

  it('7 snapshot', () =>
    crashAtSnapshot({ when: 'before', call: ['rename'], path: /-snapshot\.jsonl$/ }, async () => {
      const [unfinished, ...more] = (await journalIn(server.library)).filter((name) => name.endsWith('.part'))
      expect(more).toEqual([])
      const text = await readFile(join(server.library, JOURNAL, unfinished ?? ''), 'utf8')
      expect(text.split('\n').at(-2)).toMatch(/^{"type":"end"/)
    }))

  it('8 prune', () =>
    crashAtSnapshot({ when: 'after', call: ['unlinkFile'], path: /\/journal\/\d+-snapshot\.jsonl$/ }, async () => {
      const names = await journalIn(server.library)
      expect(names.filter((name) => name.endsWith('-snapshot.jsonl'))).toHaveLength(1)
      expect(names.length).toBeGreaterThan(1)
    }))
})
