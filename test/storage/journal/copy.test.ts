import { mkdir, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Committer } from '../../../src/storage/commit.ts'
import type { Drive } from '../../../src/storage/drive.ts'
import { JournalCopy } from '../../../src/storage/journal/copy.ts'
import { type Faults, injectFaults } from '../../support/faults.ts'
import { openLibrary } from '../../support/library.ts'
import { boundReads } from '../../support/reads.ts'
import { makeFolder, removeFolder } from '../../support/server.ts'

const MB = 1024 * 1024
let folder: string
let from: Drive
let to: Drive
let copy: JournalCopy

beforeEach(async () => {
  folder = await makeFolder()
  from = (await openLibrary(join(folder, 'library'))).drive
  to = (await openLibrary(join(folder, 'mirror'))).drive
  copy = newCopy()
  await mkdir(from.resolve('.iclood/journal'))
})

afterEach(() => removeFolder(folder))

const newCopy = () => new JournalCopy(from, to, new Committer(to))
const write = (name: string, text: string) => writeFile(from.resolve(`.iclood/journal/${name}`), text)

/** The files of a journal and what they hold. */
async function journalOf(drive: Drive): Promise<Record<string, string>> {
  const names = await readdir(drive.resolve('.iclood/journal')).catch(() => [])
  const texts = await Promise.all(names.map((name) => readFile(drive.resolve(`.iclood/journal/${name}`), 'utf8')))
  return Object.fromEntries(names.map((name, index) => [name, texts[index] ?? '']))
}

/** As the server writes a snapshot: it has its name when it is whole, and then what it replaces is removed. */
async function writeSnapshot(name: string, text: string, replaces: readonly string[]): Promise<void> {
  await write('draft', text)
  await rename(from.resolve('.iclood/journal/draft'), from.resolve(`.iclood/journal/${name}`))
  for (const old of replaces) await rm(from.resolve(`.iclood/journal/${old}`))
}

describe('the copy of a journal', () => {
  it('has every file of the journal, and does nothing when there is nothing to do', async () => {
    await write('00000001-snapshot.jsonl', 'one\n')
    await write('00000002-log.jsonl', 'two\n')
    expect(await copy.update()).toBe(true)
    expect(await journalOf(to)).toEqual(await journalOf(from))
    expect(await copy.update()).toBe(false)
    expect(await readdir(to.resolve('.iclood/incoming'))).toEqual([])
  })

  it('lacks what is longer than any of its files, which takes no space on its own drive', async () => {
    await write('00000001-log.jsonl', 'one\n')
    await write('00000002-log.jsonl', '')
    await truncate(from.resolve('.iclood/journal/00000002-log.jsonl'), 2 ** 40)
    boundReads(MB)
    expect(await copy.update()).toBe(true)
    expect(await journalOf(to)).toEqual({ '00000001-log.jsonl': 'one\n' })
  })

  it('gets what has been appended, also in a later run', async () => {
    await write('00000001-log.jsonl', 'one\n')
    await copy.update()
    await write('00000001-log.jsonl', 'one\ntwo\n')
    expect(await copy.update()).toBe(true)
    expect(await journalOf(to)).toEqual({ '00000001-log.jsonl': 'one\ntwo\n' })

    copy = newCopy()
    expect(await copy.update()).toBe(false)
    await write('00000001-log.jsonl', 'one\ntwo\nthree\n')
    copy = newCopy()
    expect(await copy.update()).toBe(true)
    expect(await journalOf(to)).toEqual({ '00000001-log.jsonl': 'one\ntwo\nthree\n' })
  })

  it('gets a file anew that is another one of the same size', async () => {
    await write('00000001-log.jsonl', 'one\n')
    await copy.update()
    await write('00000001-log.jsonl', 'two\n')
    copy = newCopy()
    await copy.update()
    expect(await journalOf(to)).toEqual({ '00000001-log.jsonl': 'two\n' })
  })

  it('loses what a snapshot has replaced, once it has the snapshot', async () => {
    await write('00000001-log.jsonl', 'one\n')
    await write('00000002-log.jsonl', 'two\n')
    await copy.update()
    await writeSnapshot('00000003-snapshot.jsonl', 'one\ntwo\n', ['00000001-log.jsonl', '00000002-log.jsonl'])
    await copy.update()
    expect(await journalOf(to)).toEqual({ '00000003-snapshot.jsonl': 'one\ntwo\n' })
  })

  it('loses nothing when the journal has gone, or begins again without a snapshot', async () => {
    await write('00000001-snapshot.jsonl', 'one\n')
    await copy.update()
    await rm(from.resolve('.iclood/journal'), { recursive: true })
    await copy.update()
    await mkdir(from.resolve('.iclood/journal'))
    await copy.update()
    await write('00000002-log.jsonl', 'two\n')
    await copy.update()
    expect(await journalOf(to)).toEqual({ '00000001-snapshot.jsonl': 'one\n', '00000002-log.jsonl': 'two\n' })
  })

  it('leaves alone what is no part of the journal, on both drives', async () => {
    await write('00000001-snapshot.jsonl', 'one\n')
    await write('00000002-snapshot.jsonl.part', 'half')
    await write('notes.txt', 'mine')
    await mkdir(to.resolve('.iclood/journal'))
    await writeFile(to.resolve('.iclood/journal/notes.txt'), 'theirs')
    await copy.update()
    expect(await journalOf(to)).toEqual({ '00000001-snapshot.jsonl': 'one\n', 'notes.txt': 'theirs' })
  })

  it('follows a snapshot that is written while it copies', async () => {
    await write('00000001-log.jsonl', 'one\n')
    await write('00000002-log.jsonl', 'two\n')
    let isWritten = false
    await copy.update(async () => {
      if (isWritten) return
      isWritten = true
      await writeSnapshot('00000003-snapshot.jsonl', 'one\ntwo\n', ['00000001-log.jsonl', '00000002-log.jsonl'])
    })
    await copy.update()
    expect(await journalOf(to)).toEqual({ '00000003-snapshot.jsonl': 'one\ntwo\n' })
  })

  it('is not touched while the drive is away, and throws why', async () => {
    await write('00000001-log.jsonl', 'one\n')
    await rm(to.resolve('.iclood'), { recursive: true })
    await expect(copy.update()).rejects.toMatchObject({ code: 'drive_missing' })
    expect(await readdir(to.root)).toEqual([])
  })
})

describe('when a step of copying a journal fails', () => {
  let faults: Faults
  beforeEach(() => {
    faults = injectFaults()
  })
  afterEach(() => faults.restore())

  it('the copy can be read at every moment, and the next time completes it', async () => {
    const before = { '00000001-snapshot.jsonl': 'one\n', '00000002-log.jsonl': 'two\n' }
    const after = { '00000003-snapshot.jsonl': 'one\ntwo\n', '00000004-log.jsonl': 'three\n' }
    let failures = 0
    for (const call of ['open', 'datasync', 'rename', 'fsync', 'unlinkFile', 'list'] as const) {
      for (let nth = 1; nth < 50; nth++) {
        await rm(from.resolve('.iclood/journal'), { recursive: true, force: true })
        await rm(to.resolve('.iclood/journal'), { recursive: true, force: true })
        await mkdir(from.resolve('.iclood/journal'))
        await mkdir(to.resolve('.iclood/journal'))
        for (const [name, text] of Object.entries(before)) {
          await write(name, text)
          await writeFile(to.resolve(`.iclood/journal/${name}`), text)
        }
        copy = newCopy()
        await write('00000004-log.jsonl', 'three\n')
        await writeSnapshot('00000003-snapshot.jsonl', 'one\ntwo\n', Object.keys(before))

        faults.arm({ call, nth, fault: 'EIO' })
        const failure = await copy.update().then(
          () => undefined,
          (error: unknown) => error,
        )
        if (!faults.disarm()) break
        if (failure !== undefined) {
          failures++
          expect(failure).toMatchObject({ code: 'drive_error' })
        }
        const left = await journalOf(to)
        const isReadable =
          left['00000003-snapshot.jsonl'] === 'one\ntwo\n' ||
          Object.entries(before).every(([name, text]) => left[name] === text)
        expect(isReadable, `${call} ${nth}: ${Object.keys(left)}`).toBe(true)
        await copy.update()
        expect(await journalOf(to), `${call} ${nth}`).toEqual(after)
        expect(await readdir(to.resolve('.iclood/incoming'))).toEqual([])
      }
    }
    expect(failures).toBeGreaterThan(12)
  })
})
