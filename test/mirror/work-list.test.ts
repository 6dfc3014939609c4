import { join } from 'node:path'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { recordCopies } from '../../src/catalogue/copies.ts'
import { rememberMirror } from '../../src/catalogue/library.ts'
import { WorkList } from '../../src/mirror/work-list.ts'
import { type Mirrored, makeMirrored, sha256 } from '../support/mirrored.ts'
import { makeFolder, removeFolder } from '../support/server.ts'

const MIRROR = '11111111-2222-4333-8444-555555555555'
const checksum = sha256(Buffer.from('content'))
let folder: string
let home: Mirrored
let work: WorkList

beforeEach(async () => {
  folder = await makeFolder()
  home = await makeMirrored(join(folder, 'library'))
  await rememberMirror(home.db, MIRROR)
  work = new WorkList(home.db)
})

afterEach(async () => {
  await home.close()
  await removeFolder(folder)
})

const pathOf = (n: number) => `2024/07/IMG_${String(n).padStart(6, '0')}.JPG`

async function addOriginals(count: number): Promise<void> {
  await sql`
    insert into files (path, checksum, size)
    select '2024/07/IMG_' || lpad(n::text, 6, '0') || '.JPG', decode(${checksum}, 'hex'), 7
    from generate_series(0, ${count - 1}::int) as n
  `.execute(home.db)
}

/** Takes everything off the list, as it comes. */
async function takeAll(): Promise<{ wanted: string[]; gone: string[] }> {
  const all = { wanted: [] as string[], gone: [] as string[] }
  for (let batch = await work.next(); batch !== undefined; batch = await work.next()) {
    expect(batch.wanted.length + batch.gone.length).toBeLessThanOrEqual(20)
    all.wanted.push(...batch.wanted.map(({ path }) => path))
    all.gone.push(...batch.gone)
  }
  return all
}

describe('a work list', () => {
  it('has nothing until it is told of something', async () => {
    await addOriginals(3)
    expect(await work.next()).toBeUndefined()
  })

  it('finds each original without a copy once, in the order of paths, and then nothing more', async () => {
    await addOriginals(5_000)
    const copied = Array.from({ length: 2_500 }, (_, n) => ({ path: pathOf(2 * n), checksum }))
    await recordCopies(home.db, MIRROR, copied, new Date())
    work.lookThrough()
    const { wanted } = await takeAll()
    expect(wanted).toEqual(Array.from({ length: 2_500 }, (_, n) => pathOf(2 * n + 1)))
    expect(await work.next()).toBeUndefined()
  })

  it('puts what has just changed before what it finds, and says what is gone', async () => {
    await addOriginals(60)
    work.lookThrough()
    await work.next()
    work.hear([pathOf(50), '2024/07/gone.jpg', pathOf(0)])
    expect(work.hasNews).toBe(true)
    const batch = await work.next()
    expect(batch?.wanted.map(({ path }) => path)).toEqual([pathOf(0), pathOf(50)])
    expect(batch?.gone).toEqual(['2024/07/gone.jpg'])
    expect(batch?.wanted[0]).toEqual({ path: pathOf(0), checksum, size: 7 })
  })

  it('looks through everything when it has heard of more than it keeps', async () => {
    await addOriginals(30)
    work.hear(Array.from({ length: 20_000 }, (_, n) => `2023/01/${n}.jpg`))
    expect(work.hasNews).toBe(false)
    expect((await takeAll()).wanted).toHaveLength(30)
  })

  it('keeps what it was about to give when the database goes away', async () => {
    await addOriginals(30)
    work.lookThrough()
    await work.next()
    work.hear([pathOf(3)])
    await sql`alter table copies rename to nowhere`.execute(home.db)
    await expect(work.next()).rejects.toThrow()
    await expect(work.next()).rejects.toThrow()
    await sql`alter table nowhere rename to copies`.execute(home.db)
    expect(new Set((await takeAll()).wanted)).toEqual(
      new Set([pathOf(3), ...Array.from({ length: 10 }, (_, n) => pathOf(20 + n))]),
    )
  })

  it('does not want what is missing, not read yet, or copied', async () => {
    await addOriginals(3)
    await sql`update files set missing_at = now() where path = ${pathOf(0)}`.execute(home.db)
    await sql`update files set checksum = null where path = ${pathOf(1)}`.execute(home.db)
    await recordCopies(home.db, MIRROR, [{ path: pathOf(2), checksum }], new Date())
    work.lookThrough()
    work.hear([0, 1, 2].map(pathOf))
    expect(await takeAll()).toEqual({ wanted: [], gone: [] })
  })
})

describe('what is recorded of copies', () => {
  it('is nothing of originals that are others by now, or for a mirror that has been replaced', async () => {
    await addOriginals(2)
    const other = sha256(Buffer.from('other'))
    await recordCopies(home.db, MIRROR, [{ path: pathOf(0), checksum: other }], new Date())
    await recordCopies(home.db, '99999999-2222-4333-8444-555555555555', [{ path: pathOf(1), checksum }], new Date())
    expect(await home.copies()).toEqual([])
    await recordCopies(home.db, MIRROR, [{ path: pathOf(1), checksum }], new Date())
    expect(await home.copies()).toEqual([pathOf(1)])
  })

  it('goes with the original', async () => {
    await addOriginals(1)
    await recordCopies(home.db, MIRROR, [{ path: pathOf(0), checksum }], new Date())
    await sql`delete from files`.execute(home.db)
    expect(await home.copies()).toEqual([])
  })
})
