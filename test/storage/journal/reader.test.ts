import { appendFile, mkdir, mkdtemp, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { formatLine } from '../../../src/format/journal-line.ts'
import type { JournalLine, JournalRecord } from '../../../src/format/journal-record.ts'
import { io } from '../../../src/storage/io.ts'
import { openJournal } from '../../../src/storage/journal/reader.ts'
import { backupRecord, JOURNAL } from '../../support/journal.ts'
import { boundReads } from '../../support/reads.ts'

const OURS = 'aaaaaaaa-0000-4000-8000-000000000001'
const OTHER = 'bbbbbbbb-0000-4000-8000-000000000002'

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'iclood-journal-'))
  await mkdir(join(root, JOURNAL), { recursive: true })
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rm(root, { recursive: true })
})

const pathOf = (name: string) => join(root, JOURNAL, name)

function header(kind: 'snapshot' | 'log', library = OURS, format = 1): JournalLine {
  return { type: 'header', format: format as 1, library, kind, created: '2024-07-01T10:00:00.000Z' }
}

/** Writes a file of the journal that tells of the assets `ids`. */
async function write(name: string, ids: readonly number[], { library = OURS, format = 1 } = {}): Promise<void> {
  const kind = name.includes('log') ? 'log' : 'snapshot'
  const lines = [header(kind, library, format), ...ids.map((id) => backupRecord(id))]
  if (kind === 'snapshot') lines.push({ type: 'end', lines: ids.length })
  await writeFile(pathOf(name), lines.map(formatLine).join(''))
}

/** Sectors whose positions fit can't be read from now on. */
function failToRead(isBad: (position: number) => boolean): void {
  const { read } = io
  vi.spyOn(io, 'read').mockImplementation(async (file, buffer, offset, length, position) => {
    for (let sector = position - (position % 4096); sector < position + length; sector += 4096) {
      if (isBad(sector)) throw Object.assign(new Error('EIO'), { code: 'EIO', syscall: 'read' })
    }
    return read(file, buffer, offset, length, position)
  })
}

async function read(libraries: readonly string[] = [OURS]) {
  const reading = await openJournal(root, libraries)
  if (reading === undefined) return undefined
  const records: JournalRecord[] = []
  for await (const record of reading.records) records.push(record)
  return { ids: records.map((record) => ('id' in record ? record.id : record.path)), damaged: reading.damaged() }
}

describe('a journal', () => {
  it('is not there in an empty folder, without a folder, and where all of it is another library’s', async () => {
    expect(await read()).toBeUndefined()
    await writeFile(pathOf('00000001-snapshot.jsonl.part'), formatLine(header('snapshot')))
    expect(await read()).toBeUndefined()
    await write('00000001-log.jsonl', [1], { library: OTHER })
    expect(await read()).toBeUndefined()
    await rm(join(root, JOURNAL), { recursive: true })
    expect(await read()).toBeUndefined()
  })

  it('is found though some of its files are terabytes of nothing, of which little is read to see whose they are', async () => {
    await write('00000001-log.jsonl', [1])
    for (let number = 2; number < 22; number++) {
      const hole = pathOf(`${String(number).padStart(8, '0')}-log.jsonl`)
      await writeFile(hole, '')
      await truncate(hole, 2 ** 40)
    }
    const reads = boundReads(32 * 1024 * 1024)
    expect(await openJournal(root, [OURS])).toBeDefined()
    expect(reads.bytes).toBeLessThan(8 * 1024 * 1024)
  })

  it('is its newest complete snapshot and the logs from that number on, in order', async () => {
    await write('00000001-snapshot.jsonl', [1])
    await write('00000002-log.jsonl', [2])
    await write('00000003-snapshot.jsonl', [3])
    await write('00000010-log.jsonl', [10])
    await write('00000003-log.jsonl', [33])
    await write('00000009-log.jsonl', [9])
    expect(await read()).toEqual({ ids: [3, 33, 9, 10], damaged: 0 })
  })

  it('is everything there is, snapshots too, if none is complete', async () => {
    await write('00000001-log.jsonl', [1])
    await write('00000002-snapshot.jsonl', [2, 3])
    await write('00000004-log.jsonl', [4])
    const text = await readFile(pathOf('00000002-snapshot.jsonl'), 'utf8')
    await writeFile(pathOf('00000002-snapshot.jsonl'), text.slice(0, text.lastIndexOf('{')))
    expect(await read()).toMatchObject({ ids: [1, 2, 3, 4] })
  })

  it.each([1, 2, 10, 40])('passes over a snapshot that lacks its last %i bytes', async (count) => {
    await write('00000001-snapshot.jsonl', [1])
    await write('00000002-log.jsonl', [2])
    await write('00000003-snapshot.jsonl', [3])
    const { length } = await readFile(pathOf('00000003-snapshot.jsonl'))
    await truncate(pathOf('00000003-snapshot.jsonl'), length - count)
    expect(await read()).toEqual({ ids: [1, 2], damaged: 0 })
  })

  it('leaves out files of other libraries, and takes those of the library it is a mirror of', async () => {
    await write('00000001-snapshot.jsonl', [1], { library: OTHER })
    await write('00000002-log.jsonl', [2])
    await write('00000003-log.jsonl', [3], { library: OTHER })
    expect(await read()).toEqual({ ids: [2], damaged: 0 })
    expect(await read([OTHER])).toEqual({ ids: [1, 3], damaged: 0 })
    expect(await read([OURS, OTHER])).toEqual({ ids: [1, 2, 3], damaged: 0 })
  })

  it('is read on after each damaged line, which is counted', async () => {
    await write('00000001-snapshot.jsonl', [1, 2, 3])
    await write('00000002-log.jsonl', [4, 5])
    for (const [name, id] of [
      ['00000001-snapshot.jsonl', 2],
      ['00000002-log.jsonl', 4],
    ] as const) {
      const text = await readFile(pathOf(name), 'utf8')
      await writeFile(pathOf(name), text.replace(`IMG_${id}.JPG`, `IMG_${id}.jpg`))
    }
    expect(await read()).toEqual({ ids: [1, 3, 5], damaged: 2 })
  })

  it('is read with a damaged header', async () => {
    await write('00000001-snapshot.jsonl', [1])
    const text = await readFile(pathOf('00000001-snapshot.jsonl'), 'utf8')
    await writeFile(pathOf('00000001-snapshot.jsonl'), text.replace('header', 'headex'))
    expect(await read()).toEqual({ ids: [1], damaged: 1 })
  })

  it('says how many lines of a snapshot are missing', async () => {
    await write('00000001-snapshot.jsonl', [1, 2, 3, 4])
    const lines = (await readFile(pathOf('00000001-snapshot.jsonl'), 'utf8')).split('\n')
    lines.splice(2, 2)
    await writeFile(pathOf('00000001-snapshot.jsonl'), lines.join('\n'))
    expect(await read()).toEqual({ ids: [1, 4], damaged: 2 })
  })

  it('is not damaged by a log’s torn last line, wherever it is torn', async () => {
    await write('00000001-snapshot.jsonl', [1])
    await write('00000002-log.jsonl', [2])
    const whole = await readFile(pathOf('00000002-log.jsonl'))
    const line = Buffer.from(formatLine(backupRecord(3, 'Ü😀.JPG')))
    // Every seventh place, within characters too, and those at the end.
    for (let length = 1; length < line.length; length += length < line.length - 8 ? 7 : 1) {
      await writeFile(pathOf('00000002-log.jsonl'), Buffer.concat([whole, line.subarray(0, length)]))
      expect(await read()).toEqual({ ids: length === line.length - 1 ? [1, 2, 3] : [1, 2], damaged: 0 })
    }
  })

  it('is read past lines that are no text, no JSON, unknown or longer than any line can be', async () => {
    await write('00000001-log.jsonl', [1])
    await appendFile(pathOf('00000001-log.jsonl'), Buffer.from([0xff, 0xfe, 0x00, 0x0a]))
    await appendFile(pathOf('00000001-log.jsonl'), 'hello\n{}\n\n[1]\n')
    await appendFile(pathOf('00000001-log.jsonl'), formatLine({ type: 'album', id: 9 } as never))
    await appendFile(pathOf('00000001-log.jsonl'), Buffer.alloc(17 * 1024 * 1024, 0x61))
    await appendFile(pathOf('00000001-log.jsonl'), `\n${formatLine(backupRecord(2))}`)
    expect(await read()).toEqual({ ids: [1, 2], damaged: 6 })
  })

  it('with lines as long as they may be, across what is read at a time, is the same', async () => {
    const long = { ...backupRecord(2), phone_path: 'ä'.repeat(32_000) }
    const lines = [header('log'), backupRecord(1), ...Array(9).fill(long), backupRecord(3)].map(formatLine)
    await writeFile(pathOf('00000001-log.jsonl'), lines.join(''))
    expect(await read()).toEqual({ ids: [1, ...Array(9).fill(2), 3], damaged: 0 })
  })

  it('loses no more to a sector that can’t be read than the lines in it', async () => {
    const ids = Array.from({ length: 2_000 }, (_, index) => index + 1)
    await write('00000001-snapshot.jsonl', ids)
    await write('00000002-log.jsonl', [9_999])
    const { length } = await readFile(pathOf('00000001-snapshot.jsonl'))
    failToRead((position) => position === 81_920 || position === 409_600)
    const { ids: found = [], damaged = 0 } = (await read()) ?? {}
    const lost = 2_001 - found.length
    expect(found.at(-1)).toBe(9_999)
    expect(lost).toBeGreaterThan(2)
    expect(lost).toBeLessThan(((2 * 3 * 4096) / length) * ids.length)
    expect(damaged).toBe(lost)
  })

  it('is read on in the next file when one can’t be read at all, which counts once', async () => {
    const ids = Array.from({ length: 2_000 }, (_, index) => index + 1)
    await write('00000001-snapshot.jsonl', [1])
    await write('00000002-log.jsonl', ids)
    await write('00000003-log.jsonl', [9_999])
    failToRead((position) => position >= 4096)
    const { ids: found = [], damaged } = (await read()) ?? {}
    expect(found[0]).toBe(1)
    expect(found.at(-1)).toBe(9_999)
    expect(found.length).toBeLessThan(50)
    expect(damaged).toBeGreaterThan(0)
  })

  it('on a drive that refuses to be read says so', async () => {
    await write('00000001-snapshot.jsonl', [1])
    vi.spyOn(io, 'read').mockImplementation(async () => {
      throw Object.assign(new Error('EACCES'), { code: 'EACCES', syscall: 'read' })
    })
    await expect(read()).rejects.toMatchObject({ code: 'drive_error' })
  })

  it('of a later format is not read', async () => {
    await write('00000001-snapshot.jsonl', [1])
    await write('00000002-log.jsonl', [2], { format: 2 })
    await expect(read()).rejects.toMatchObject({ code: 'drive_error', message: expect.stringContaining('format 2') })
  })

  it('that is replaced while it is read says so', async () => {
    await write('00000001-log.jsonl', [1])
    await write('00000002-log.jsonl', [2])
    const reading = await openJournal(root, [OURS])
    await rename(pathOf('00000002-log.jsonl'), pathOf('gone'))
    const seen: unknown[] = []
    const all = async () => {
      for await (const record of reading?.records ?? []) seen.push(record)
    }
    await expect(all()).rejects.toMatchObject({ code: 'drive_error' })
    expect(seen).toHaveLength(1)
  })
})
