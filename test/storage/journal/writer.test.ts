import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { formatLine } from '../../../src/format/journal-line.ts'
import type { JournalRecord } from '../../../src/format/journal-record.ts'
import { Committer } from '../../../src/storage/commit.ts'
import type { Drive } from '../../../src/storage/drive.ts'
import { io } from '../../../src/storage/io.ts'
import { openJournal } from '../../../src/storage/journal/reader.ts'
import { JournalWriter } from '../../../src/storage/journal/writer.ts'
import { backupRecord, JOURNAL, journalIn } from '../../support/journal.ts'
import { openLibrary } from '../../support/library.ts'

let root: string
let drive: Drive
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'iclood-journal-'))
  drive = (await openLibrary(root)).drive
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rm(root, { recursive: true })
})

const newWriter = () => new JournalWriter(drive, new Committer(drive), () => new Date(0))
const record = (id: number) => backupRecord(id)

async function* pages(...ids: readonly number[][]): AsyncGenerator<JournalRecord[]> {
  for (const page of ids) yield page.map(record)
}

async function ids(): Promise<number[]> {
  const reading = await openJournal(root, [drive.id])
  const found: number[] = []
  for await (const line of reading?.records ?? []) if ('id' in line) found.push(line.id)
  return found
}

const failing = (code: string, syscall: string) => async () => {
  throw Object.assign(new Error(`${code}: ${syscall}`), { code, syscall })
}

describe('the journal’s writer', () => {
  it('writes what the reader reads, one log for a run', async () => {
    const writer = newWriter()
    await writer.append([record(1), record(2)])
    await writer.append([record(3)])
    expect(await journalIn(root)).toEqual(['00000001-log.jsonl'])
    expect(await ids()).toEqual([1, 2, 3])
  })

  it('begins a new log in each run, whose number goes on after the highest', async () => {
    await newWriter().append([record(1)])
    await appendFile(join(root, JOURNAL, '00000001-log.jsonl'), '{"type":"backup","id":7')
    await mkdir(join(root, JOURNAL), { recursive: true })
    await writeFile(join(root, JOURNAL, '00000041-log.jsonl'), formatLine(otherHeader()))
    await newWriter().append([record(2)])
    await newWriter().append([record(3)])
    expect((await journalIn(root)).slice(1)).toEqual(['00000041-log.jsonl', '00000042-log.jsonl', '00000043-log.jsonl'])
    expect(await ids()).toEqual([1, 2, 3])
  })

  it.each([
    ['another library’s log', '99999999-log.jsonl', formatLine(otherHeader())],
    ['what is no journal', '50000000-log.jsonl', 'x'],
    ['a snapshot that says nothing', '99999999-snapshot.jsonl', 'of this library'],
  ])('goes on where somebody has put %s with a number that leaves none, and keeps that', async (_, name, text) => {
    await newWriter().append([record(1)])
    const own = formatLine({ ...otherHeader(), library: drive.id }) + formatLine({ type: 'end', lines: 0 })
    const bytes = text === 'of this library' ? own : text
    await writeFile(join(root, JOURNAL, name), bytes)
    const told: string[][] = []
    const writer = new JournalWriter(
      drive,
      new Committer(drive),
      () => new Date(0),
      (...aside) => told.push(aside),
      // That a snapshot is due has to be known before: nothing tells of it afterwards.
      async () => told.push(['due', String((await journalIn(root)).includes(name))]),
    )
    // As a snapshot is begun beside what is appended.
    await Promise.all([writer.needsSnapshot(), writer.append([record(2)])])
    expect(told.shift()).toEqual(['due', 'true'])
    const place = `.iclood/quarantine/${JOURNAL}/${name}.19700101T000000Z`
    expect(told).toEqual([[`${JOURNAL}/${name}`, place]])
    expect(await readFile(join(root, place), 'utf8')).toBe(bytes)
    expect(await journalIn(root)).toEqual(['00000001-log.jsonl', '00000002-log.jsonl'])
    expect(await ids()).toEqual([1, 2])
    await writer.writeSnapshot(pages([1, 2, 3]))
    expect(await writer.needsSnapshot()).toBe(false)
  })

  it('begins with low numbers again when it has written after such a one, which its snapshot makes up for', async () => {
    await newWriter().append([record(1)])
    await writeFile(join(root, JOURNAL, '49999999-log.jsonl'), formatLine(otherHeader()))
    const writer = newWriter()
    await writer.append([record(2)])
    expect((await journalIn(root)).at(-1)).toBe('50000000-log.jsonl')
    writer.forget()
    expect(await writer.needsSnapshot()).toBe(true)
    await writer.writeSnapshot(pages([1, 2]))
    expect(await journalIn(root)).toEqual(['00000002-snapshot.jsonl'])
    expect(await writer.needsSnapshot()).toBe(false)
    await writer.append([record(3)])
    expect(await ids()).toEqual([1, 2, 3])
  })

  it('is no journal what has more than eight digits', async () => {
    await newWriter().append([record(1)])
    await writeFile(join(root, JOURNAL, `${'9'.repeat(15)}-log.jsonl`), 'x')
    await newWriter().append([record(2)])
    expect(await ids()).toEqual([1, 2])
  })

  it('does not remove a file that it finds in the place of a new log, and goes on after all that are there', async () => {
    const writer = newWriter()
    await writer.append([record(1)])
    await appendFile(join(root, JOURNAL, '00000001-log.jsonl'), 'x')
    for (const next of [2, 3, 4]) await writeFile(join(root, JOURNAL, `0000000${next}-log.jsonl`), 'somebody’s')
    await expect(writer.append([record(2)])).rejects.toThrow()
    await writer.append([record(2)])
    expect(await ids()).toEqual([1, 2])
    expect(await readFile(join(root, JOURNAL, '00000002-log.jsonl'), 'utf8')).toBe('somebody’s')
  })

  it('begins a new log when one has grown large', async () => {
    const writer = newWriter()
    const long = Array(60).fill({ ...record(1), phone_path: 'x'.repeat(50 * 1024) })
    for (let count = 0; count < 3; count++) await writer.append(long)
    expect(await journalIn(root)).toHaveLength(3)
    expect(await ids()).toEqual(Array(180).fill(1))
  })

  it('begins a new log when somebody else has changed its own, or removed it', async () => {
    const writer = newWriter()
    await writer.append([record(1)])
    await appendFile(join(root, JOURNAL, '00000001-log.jsonl'), 'torn')
    await writer.append([record(2)])
    await rm(join(root, JOURNAL, '00000002-log.jsonl'))
    await writer.append([record(3)])
    expect(await journalIn(root)).toEqual(['00000001-log.jsonl', '00000003-log.jsonl'])
    expect(await ids()).toEqual([1, 3])
  })

  it.each([
    ['its flush', () => vi.spyOn(io, 'datasync').mockImplementationOnce(failing('EIO', 'fdatasync'))],
    ['a write', () => vi.spyOn(io, 'writev').mockImplementationOnce(failing('EIO', 'write'))],
    ['closing it', () => vi.spyOn(io, 'close').mockImplementationOnce(failing('EIO', 'close'))],
  ])('never continues a log after %s has failed', async (_, fail) => {
    const writer = newWriter()
    await writer.append([record(1)])
    fail()
    await expect(writer.append([record(2)])).rejects.toMatchObject({ code: 'drive_error' })
    const before = await readFile(join(root, JOURNAL, '00000001-log.jsonl'))
    await writer.append([record(2)])
    await writer.append([record(3)])
    expect(await readFile(join(root, JOURNAL, '00000001-log.jsonl'))).toEqual(before)
    expect(await journalIn(root)).toEqual(['00000001-log.jsonl', '00000002-log.jsonl'])
    expect((await ids()).slice(-2)).toEqual([2, 3])
  })

  it('leaves nothing of a new log that could not be flushed', async () => {
    const writer = newWriter()
    vi.spyOn(io, 'datasync').mockImplementationOnce(failing('ENOSPC', 'fdatasync'))
    await expect(writer.append([record(1)])).rejects.toMatchObject({ code: 'disk_full' })
    expect(await journalIn(root)).toEqual([])
    await writer.append([record(1)])
    expect(await ids()).toEqual([1])
  })

  it('goes on in the rest when a write takes only a part', async () => {
    const { writev } = io
    const writer = newWriter()
    await writer.append([record(1)])
    vi.spyOn(io, 'writev').mockImplementationOnce((file, [chunk], position) =>
      writev(file, [(chunk as Buffer).subarray(0, 10)], position),
    )
    await writer.append([record(2), record(3)])
    expect(await ids()).toEqual([1, 2, 3])
  })

  it('replaces everything by a snapshot, after which logs go on', async () => {
    const writer = newWriter()
    await writer.append([record(1)])
    await writer.writeSnapshot(pages([1, 2], [3]))
    expect(await journalIn(root)).toEqual(['00000002-snapshot.jsonl'])
    await writer.append([record(4)])
    expect(await journalIn(root)).toEqual(['00000002-snapshot.jsonl', '00000003-log.jsonl'])
    expect(await ids()).toEqual([1, 2, 3, 4])
    await writer.writeSnapshot(pages())
    expect(await journalIn(root)).toEqual(['00000004-snapshot.jsonl'])
    expect(await ids()).toEqual([])
  })

  it('keeps what is appended while a snapshot is written', async () => {
    const writer = newWriter()
    await writer.append([record(1)])
    async function* slow(): AsyncGenerator<JournalRecord[]> {
      yield [record(1)]
      await writer.append([record(2)])
      yield [record(3)]
      await writer.append([record(4)])
    }
    await writer.writeSnapshot(slow())
    expect(await journalIn(root)).toEqual(['00000002-snapshot.jsonl', '00000003-log.jsonl'])
    expect(await ids()).toEqual([1, 3, 2, 4])
  })

  it('replaces nothing when a snapshot fails at any of its steps', async () => {
    const writer = newWriter()
    await writer.append([record(1)])
    async function* broken(): AsyncGenerator<JournalRecord[]> {
      yield [record(9)]
      throw new Error('the catalogue went away')
    }
    const failures = [
      () => vi.spyOn(io, 'open').mockImplementationOnce(failing('EIO', 'open')),
      () => vi.spyOn(io, 'writev').mockImplementationOnce(failing('ENOSPC', 'write')),
      () => vi.spyOn(io, 'datasync').mockImplementationOnce(failing('EIO', 'fdatasync')),
      () => vi.spyOn(io, 'close').mockImplementationOnce(failing('EIO', 'close')),
      () => vi.spyOn(io, 'rename').mockImplementationOnce(failing('EIO', 'rename')),
    ]
    for (const fail of failures) {
      fail()
      await expect(writer.writeSnapshot(pages([9]))).rejects.toMatchObject({ code: expect.stringMatching(/^d/) })
      expect(await journalIn(root)).toEqual(['00000001-log.jsonl'])
    }
    await expect(writer.writeSnapshot(broken())).rejects.toThrow()
    expect(await ids()).toEqual([1])
  })

  it('removes what an interrupted snapshot has left, and leaves another library’s files alone', async () => {
    await mkdir(join(root, JOURNAL))
    await writeFile(join(root, JOURNAL, '00000003-snapshot.jsonl.part'), 'unfinished')
    await writeFile(join(root, JOURNAL, '00000004-log.jsonl'), formatLine(otherHeader()))
    const writer = newWriter()
    await writer.append([record(1)])
    await writer.writeSnapshot(pages([1]))
    expect(await journalIn(root)).toEqual(['00000004-log.jsonl', '00000006-snapshot.jsonl'])
  })

  it('asks for a snapshot when there is no journal, when logs outgrow it, and when they are many', async () => {
    const writer = newWriter()
    expect(await writer.needsSnapshot()).toBe(true)
    await writer.writeSnapshot(pages())
    expect(await writer.needsSnapshot()).toBe(false)
    const long = { ...record(1), phone_path: 'x'.repeat(3 * 1024 * 1024) }
    for (let count = 0; count < 2; count++) await writer.append([long])
    expect(await writer.needsSnapshot()).toBe(false)
    await writer.append([long])
    expect(await writer.needsSnapshot()).toBe(true)
    expect(await newWriter().needsSnapshot()).toBe(true)
    await writer.writeSnapshot(pages())
    for (let run = 0; run < 64; run++) await newWriter().append([record(1)])
    expect(await newWriter().needsSnapshot()).toBe(false)
    await newWriter().append([record(1)])
    expect(await newWriter().needsSnapshot()).toBe(true)
  })

  it('asks for a snapshot when the drive comes back without what was written last', async () => {
    const writer = newWriter()
    await writer.writeSnapshot(pages([1]))
    await writer.append([record(2)])
    writer.forget()
    expect(await writer.needsSnapshot()).toBe(false)
    writer.forget()
    await rm(join(root, JOURNAL, '00000002-log.jsonl'))
    expect(await writer.needsSnapshot()).toBe(true)
  })

  it('writes nothing while the drive is away', async () => {
    const writer = newWriter()
    await writer.append([record(1)])
    await rm(join(root, '.iclood/library.json'))
    await expect(writer.append([record(2)])).rejects.toMatchObject({ code: 'drive_missing' })
    await expect(writer.writeSnapshot(pages([2]))).rejects.toMatchObject({ code: 'drive_missing' })
    expect(await journalIn(root)).toEqual(['00000001-log.jsonl'])
  })
})

function otherHeader() {
  return {
    type: 'header',
    format: 1,
    library: 'bbbbbbbb-0000-4000-8000-000000000002',
    kind: 'log',
    created: '2024-07-01T10:00:00.000Z',
  } as const
}
