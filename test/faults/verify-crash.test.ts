import { existsSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCommand } from '../support/command.ts'
import { noise } from '../support/media.ts'
import { type Mirrored, makeMirrored } from '../support/mirrored.ts'
import { makeFolder, removeFolder } from '../support/server.ts'
import { endingAt, type Moment } from '../support/stoppable.ts'

/* The rows of the crash table of verification and healing in docs/design.md, under their names; see crash-table.test.ts. */

const NAME = 'IMG_0001.JPG'
const WRONG = Buffer.alloc(20_000)
let folder: string
let home: Mirrored
beforeAll(async () => {
  folder = await makeFolder()
  home = await makeMirrored(join(folder, 'library'))
})
afterAll(async () => {
  await home.close()
  await removeFolder(folder)
})

/** Verifies what was taken in that year, as a person does; `null` if it is killed at that moment. */
async function verify(year: string, moment?: Moment): Promise<number | null> {
  const ending = moment === undefined ? {} : await endingAt(folder, moment)
  const env = { DATABASE_URL: home.url, UPLOAD_FOLDER: home.root, ...ending }
  const { code, stderr } = await runCommand(folder, ['verify', '--path', `${year}/07`], env)
  expect([null, 0, 1], stderr).toContain(code)
  return code
}

interface Row {
  moment: Moment
  /** What lies in its place: what rot has made of it, nothing, or the original again. */
  lies: 'wrong' | 'nothing' | 'original'
  isLost: boolean
}

let year = 2000

/** Verifies a rotten original, whose content another file has, until that moment; looks; and verifies it again. */
async function crash({ moment, lies, isLost }: Row): Promise<void> {
  year++
  const bytes = noise(20_000, `rotten ${year}`)
  const path = await home.put(`${year}/07/${NAME}`, bytes)
  await home.put(`${year}/06/twin.jpg`, bytes)
  await sql`
    insert into backups (device_id, original_path, file_name, file_path, file_size, file_type, status, timestamp)
    values ('iPhone', ${path}, ${NAME}, ${path}, ${bytes.length}, 'photo', 'Completed', now())
  `.execute(home.db)
  const place = join(home.root, path)
  await writeFile(place, WRONG)

  expect(await verify(String(year), moment)).toBe(null)
  const found = existsSync(place) ? await readFile(place) : undefined
  expect(found).toEqual({ wrong: WRONG, nothing: undefined, original: bytes }[lies])
  expect(await quarantined()).toEqual(lies === 'wrong' ? [] : [WRONG])
  expect(await state(path)).toEqual(isLost ? { lost: true, status: 'Failed' } : { lost: false, status: 'Completed' })

  expect(await verify(String(year))).toBeTypeOf('number')
  expect((await readFile(place)).equals(bytes)).toBe(true)
  expect(await quarantined()).toEqual([WRONG])
  expect(await state(path)).toEqual({ lost: false, status: 'Completed' })
}

async function state(path: string): Promise<unknown> {
  const { rows } = await sql`
    select lost_at is not null as lost, status from originals as files join backups on file_path = path where path = ${path}
  `.execute(home.db)
  return rows[0]
}

/** What was moved to quarantine this year. */
async function quarantined(): Promise<Buffer[]> {
  const quarantine = join(home.root, `.iclood/quarantine/${year}/07`)
  const names = existsSync(quarantine) ? await readdir(quarantine) : []
  return Promise.all(names.map((name) => readFile(join(quarantine, name))))
}

describe('verifying a rotten original', () => {
  it('1 read back', () =>
    crash({
      moment: { when: 'after', call: ['read'], path: /\/07\/IMG_0001\.JPG$/, isNext: true },
      lies: 'wrong',
      isLost: false,
    }))

  it('2 declare lost', () =>
    crash({ moment: { when: 'before', call: ['mkdir'], path: /\/quarantine/ }, lies: 'wrong', isLost: true }))

  it('3 quarantine', () =>
    crash({
      moment: { when: 'before', call: ['open'], path: /\/06\/twin\.jpg$/ },
      lies: 'nothing',
      isLost: true,
    }))

  it('4 restore', () =>
    crash({ moment: { when: 'after', call: ['fsync'], path: /\/library$/ }, lies: 'original', isLost: true }))

  it('5 declare restored', () =>
    crash({ moment: { when: 'before', call: ['unlink'], path: /\/incoming\// }, lies: 'original', isLost: false }))
})
