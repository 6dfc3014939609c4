import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { allRecords } from '../../src/catalogue/journal-rows.ts'
import { JournalWriter } from '../../src/storage/journal/writer.ts'
import { runCommand } from '../support/command.ts'
import { noise } from '../support/media.ts'
import { type Mirrored, makeMirrored } from '../support/mirrored.ts'
import { makeFolder, removeFolder } from '../support/server.ts'
import { endingAt, type Moment } from '../support/stoppable.ts'

/* The rows of the rebuild's crash table in docs/design.md, under their names; see crash-table.test.ts. */

const STRANGERS = ['2024/04/stranger.jpg', '2024/06/stranger.jpg'] as const
const LOST = '2024/04/lost.jpg'
let folder: string
let home: Mirrored
let complete: unknown
beforeAll(async () => {
  folder = await makeFolder()
  home = await makeMirrored(join(folder, 'library'))
  for (const path of ['2024/04/a.jpg', '2024/06/b.jpg']) await home.put(path, noise(20_000, path))
  const { library, db } = home
  await sql`
    insert into files (path, checksum, size, media_type) values (${LOST}, sha256('lost'), 4, 'image/jpeg')
  `.execute(db)
  await sql`
    insert into backups (device_id, original_path, file_name, file_path, file_size, file_type, status, timestamp)
    select 'iPhone', path, path, path, size, 'photo', 'Completed', '2024-08-01' from files
  `.execute(db)
  const journal = new JournalWriter(library.drive, library.committer, library.now)
  await journal.writeSnapshot(allRecords(db))
  for (const path of STRANGERS) await writeFile(join(home.root, path), noise(20_000, path))

  await forgetEverything()
  expect(await rebuild()).toBe(1)
  complete = await catalogue()
})
afterAll(async () => {
  await home.close()
  await removeFolder(folder)
})

/** Rebuilds it as a person does; `null` if it is killed at that moment. */
async function rebuild(moment?: Moment): Promise<number | null> {
  const ending = moment === undefined ? {} : await endingAt(folder, moment)
  const env = { DATABASE_URL: home.url, UPLOAD_FOLDER: home.root, ...ending }
  const { code, stderr } = await runCommand(folder, ['rebuild'], env)
  expect([null, 0, 1], stderr).toContain(code)
  return code
}

async function forgetEverything(): Promise<void> {
  for (const table of ['findings', 'copies', 'backups', 'files']) {
    await sql`delete from ${sql.table(table)}`.execute(home.db)
  }
  await sql`update places set identity = null, walked_at = null, looked_until = ''`.execute(home.db)
}

interface Catalogue {
  library: boolean
  files: [path: string, state: 'read' | 'unread' | 'lost'][]
  backups: [path: string, status: string][]
}

async function catalogue(): Promise<Catalogue> {
  const { rows } = await sql<Catalogue>`
    select
      exists (select from places where identity is not null) as library,
      (select coalesce(json_agg(json_build_array(path, case
         when lost_at is not null then 'lost' when checksum is null then 'unread' else 'read' end) order by path), '[]')
       from originals) as files,
      (select coalesce(json_agg(json_build_array(file_path, status) order by file_path), '[]') from backups) as backups
  `.execute(home.db)
  if (rows[0] === undefined) throw new Error('no row')
  return rows[0]
}

/** Rebuilds an empty catalogue until that moment, and then to the end; what it knew in between is for `look`. */
async function crash(moment: Moment, look: (known: Catalogue) => void): Promise<void> {
  await forgetEverything()
  expect(await rebuild(moment)).toBe(null)
  look(await catalogue())
  expect(await rebuild()).toBe(1)
  expect(await catalogue()).toEqual(complete)
}

const stateOf = ({ files }: Catalogue, path: string) => files.find(([name]) => name === path)?.[1]

describe('a rebuild', () => {
  it('1 read', () =>
    crash({ when: 'after', call: ['read'], path: /snapshot\.jsonl$/ }, (known) => {
      expect(known).toEqual({ library: false, files: [], backups: [] })
    }))

  it('2 import', () =>
    crash({ when: 'before', call: ['list'], path: /\/library\/?$/ }, (known) => {
      expect(known.library).toBe(true)
      expect(known.backups).toHaveLength(3)
      expect(known.files.map(([, state]) => state)).toEqual(['read', 'read', 'read'])
    }))

  it('3 adopt', () =>
    crash({ when: 'before', call: ['list'], path: /\/2024\/06$/ }, (known) => {
      expect(stateOf(known, STRANGERS[0])).toBe('unread')
      expect(stateOf(known, STRANGERS[1])).toBe(undefined)
    }))

  it('4 look', () =>
    crash({ when: 'before', call: ['lstat'], path: /\/2024\/06\/b\.jpg$/ }, (known) => {
      expect(stateOf(known, LOST)).toBe('lost')
      expect(known.backups).toContainEqual([LOST, 'Failed'])
      expect(stateOf(known, STRANGERS[1])).toBe('unread')
    }))

  it('5 read back', () =>
    crash({ when: 'after', call: ['read'], path: /\/2024\/06\/stranger\.jpg$/ }, (known) => {
      expect(stateOf(known, STRANGERS[0])).toBe('read')
      expect(stateOf(known, STRANGERS[1])).toBe('unread')
    }))
})
