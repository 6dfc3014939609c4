import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { formatLine } from '../../src/format/journal-line.ts'
import type { JournalLine } from '../../src/format/journal-record.ts'
import { JOURNAL, journalIn } from '../support/journal.ts'
import { jpeg } from '../support/media.ts'
import { get, upload } from '../support/phone.ts'
import { makeFolder, startServer } from '../support/server.ts'
import { until } from '../support/until.ts'

it('a journal that can’t be written is a problem with its reason for as long as that is so, and photos are taken', async () => {
  const folder = await makeFolder()
  const first = await startServer(folder)
  await first.stop()
  const { id } = JSON.parse(await readFile(join(first.library, '.iclood/library.json'), 'utf8')) as { id: string }
  const later = join(first.library, JOURNAL, '00001000-log.jsonl')
  const created = new Date().toISOString()
  const header = { type: 'header', format: 2, library: id, kind: 'log', created } as unknown as JournalLine
  await writeFile(later, formatLine(header))

  const server = await startServer(folder)
  const photo = jpeg({ date: '2024:07:01 12:00:00', seed: 'unwritten' })
  expect((await upload(server.url, photo, { name: 'IMG_1.JPG', fields: { device_id: 'iPhone' } })).status).toBe(201)
  const problems = async () => (await get(server.url, '/library/health')).body.problems
  await until('it is told', async () => (await problems()).length > 0)
  expect(await problems()).toEqual([
    expect.objectContaining({
      key: 'journal_unwritten',
      severity: 'warning',
      message: expect.stringMatching(
        /^The journal on the drive is of format 2, .* Use the version that wrote it, or a newer one\. Photos/,
      ),
    }),
  ])

  await rm(later)
  await until('it is over', async () => (await problems()).length === 0)
  await until('the journal has it', async () => {
    const names = await journalIn(server.library)
    const texts = await Promise.all(names.map((name) => readFile(join(server.library, JOURNAL, name), 'utf8')))
    return texts.join('').includes('"IMG_1.JPG"')
  })
  await server.stop()
})
