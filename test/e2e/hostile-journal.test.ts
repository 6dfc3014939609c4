import { createHash } from 'node:crypto'
import { mkdir, open, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { formatLine } from '../../src/format/journal-line.ts'
import type { JournalLine, OriginalFacts } from '../../src/format/journal-record.ts'
import { runCommand } from '../support/command.ts'
import { backupRecord, JOURNAL, journalIn, originalFacts } from '../support/journal.ts'
import { jpeg } from '../support/media.ts'
import { get, post, upload } from '../support/phone.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

/* A library whose journal somebody has added to, and whose database is lost: what they wrote is all that is known. */

const DEVICE = 'iPhone'
const TAKEN = Date.parse('2024-07-01T12:00:00Z')
const AHEAD = '9999-12-31T23:59:59.000Z'
const SOMEBODY_ELSES = 'Documents/tax.pdf'

const sha256 = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex')
const pathOf = (name: string) => `file:///var/mobile/Media/DCIM/100APPLE/${name}`
const photos = {
  INTACT: jpeg({ date: '2024:07:01 12:00:00', offset: '+00:00', seed: 'intact' }),
  DAMAGED: jpeg({ date: '2024:07:01 12:00:00', offset: '+00:00', seed: 'damaged' }),
}

let folder: string
let library: string
let server: TestServer
/** When the server came that has the library now; it may have read some of it before anybody asked. */
let began: string

beforeAll(async () => {
  folder = await makeFolder()
  library = join(folder, 'drive')
  const first = await startServer(folder, { UPLOAD_FOLDER: library })
  const facts: Record<string, OriginalFacts> = {}
  for (const [name, bytes] of Object.entries(photos)) {
    const fields = { device_id: DEVICE, original_path: pathOf(name), asset_id: name }
    const { status, body } = await upload(first.url, bytes, { name: `${name}.JPG`, fields })
    expect(status).toBe(201)
    const { file_path: path, sha256: sum, file_size: size } = body.backup
    facts[name] = { ...originalFacts(path, 2), sha256: sum, size, stored_at: AHEAD, verified_at: AHEAD }
  }
  await first.stop()

  const damaged = await open(join(library, facts['DAMAGED']?.path ?? ''), 'r+')
  await damaged.write('?', 2000)
  await damaged.close()
  await mkdir(join(library, 'Documents'))
  await writeFile(join(library, SOMEBODY_ELSES), 'taxes')
  await addToJournal([
    ...Object.values(facts).map((one) => ({ type: 'original' as const, ...one })),
    // That a photo which was never sent is what lies in the place of another.
    {
      ...backupRecord(900_000),
      device: DEVICE,
      phone_path: pathOf('NEVER SENT'),
      asset_id: 'X',
      at: AHEAD,
      created: null,
      announced_size: null,
      original: { ...(facts['INTACT'] ?? originalFacts('x', 1)), captured_at: AHEAD },
    },
    { type: 'original', ...originalFacts(SOMEBODY_ELSES, 3), size: 5 },
    { ...backupRecord(900_001), device: DEVICE, phone_path: pathOf('NOWHERE'), asset_id: 'N', original: null },
  ])
  const elsewhere = await makeFolder()
  began = new Date().toISOString()
  server = await startServer(elsewhere, { UPLOAD_FOLDER: library, AUTO_REBUILD: 'true' })
  await until('it is rebuilt', async () => (await get(server.url, '/storage/status')).status === 200)
})

afterAll(async () => {
  await server.stop()
  await removeFolder(server.folder)
  await removeFolder(folder)
})

async function addToJournal(lines: readonly JournalLine[]): Promise<void> {
  const [newest = ''] = (await journalIn(library)).filter((name) => name.endsWith('.jsonl'))
  const [header = ''] = (await readFile(join(library, JOURNAL, newest), 'utf8')).split('\n')
  const text = `${header}\n${lines.map(formatLine).join('')}`
  await writeFile(join(library, JOURNAL, '99999990-log.jsonl'), text)
}

// biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
async function verdict(name: string, said: object): Promise<any> {
  const files = [{ path: pathOf(name), ...said }]
  return (await post(server.url, '/photos/verdict', { device_id: DEVICE, files })).body.files[0]
}

it('a photo that was verified in the year 9999 is safe only once this server has read it', async () => {
  const bytes = photos.INTACT
  // It is read when somebody asks, or, when that takes longer than an answer may, soon after.
  const said = await until('it is read', async () => {
    const said = await verdict('INTACT', { sha256: sha256(bytes) })
    return said.safe && said
  })
  expect(said).toMatchObject({ safe: true, stored_at: null })
  expect(said.verified_at < AHEAD && said.verified_at >= began).toBe(true)
  // Its size and date are those of the bytes, which it has looked at.
  expect(await verdict('INTACT', { size: bytes.length, created: TAKEN })).toMatchObject({ safe: true })
})

it('a photo that is damaged is never safe, whatever the journal says', async () => {
  const bytes = photos.DAMAGED
  for (const proof of [{ sha256: sha256(bytes) }, { size: bytes.length, created: TAKEN }, { id: 'DAMAGED' }]) {
    expect(await verdict('DAMAGED', proof)).toMatchObject({ safe: false })
  }
})

it('an id that the journal gives to a file proves nothing', async () => {
  for (const said of [{ id: 'X' }, { id: 'X', created: TAKEN }, { id: 'X', created: TAKEN, size: 0 }]) {
    expect(await verdict('NEVER SENT', said)).toMatchObject({ safe: false, reason: 'not_identified' })
  }
  const size = photos.INTACT.length
  expect((await verdict('NEVER SENT', { id: 'X', created: TAKEN, size: size + 1 })).safe).toBe(false)
  expect((await verdict('NEVER SENT', { id: 'X', created: TAKEN - 400 * 86_400_000, size })).safe).toBe(false)
})

it('a completed backup without an original is asked for', async () => {
  const files = [{ path: pathOf('NOWHERE'), id: 'N' }]
  expect((await post(server.url, '/photos/new', { device_id: DEVICE, files })).body).toMatchObject({ count: 1 })
})

it('times in the future are none', async () => {
  const { body } = await get(server.url, '/backup/log?limit=100')
  expect(JSON.stringify(body)).not.toContain('9999-')
})

it('what the journal calls an original outside the month folders is left where it lies', async () => {
  // It finds the damaged photo, and nothing else.
  expect((await runCommand(server.folder, ['verify'], { UPLOAD_FOLDER: library })).code).toBe(1)
  expect(await readFile(join(library, SOMEBODY_ELSES), 'utf8')).toBe('taxes')
  const { body } = await get(server.url, '/library/health')
  expect(JSON.stringify(body)).not.toContain('tax.pdf')
})
