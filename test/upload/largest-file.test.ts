import { execFile } from 'node:child_process'
import { mkdir, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { sql } from 'kysely'
import { beforeAll, describe, expect, it } from 'vitest'
import { findFindings } from '../../src/catalogue/findings.ts'
import type { LibraryPath } from '../../src/format/layout.ts'
import { lookAtOld } from '../../src/phones/look-at-old.ts'
import { adoptStrangers } from '../../src/rebuild/strangers.ts'
import { walkFolders } from '../../src/verify/folders.ts'
import { verifyOriginal } from '../../src/verify/verify-original.ts'
import { drive, makeDrive } from '../support/drives.ts'
import { type Mirrored, makeMirrored } from '../support/mirrored.ts'
import { command, needs } from '../support/needs.ts'
import { boundReads } from '../support/reads.ts'

const run = promisify(execFile)
const MB = 1024 * 1024
const signal = new AbortController().signal

// The largest file that there can be: of the file systems that tests have, tmpfs holds one.
describe('a file of 2^63-1 bytes', needs(drive('tmpfs'), command('truncate', 'coreutils')), () => {
  let home: Mirrored
  beforeAll(async () => {
    home = await makeMirrored((await makeDrive('tmpfs')).path)
  })

  /** Makes it in July, long ago. */
  async function put(name: string): Promise<LibraryPath> {
    const place = join(home.root, '2024/07', name)
    await mkdir(join(home.root, '2024/07'), { recursive: true })
    // Node's own takes no such number.
    await run('truncate', ['-s', '9223372036854775807', place])
    await utimes(place, 1_600_000_000, 1_600_000_000)
    expect((await stat(place, { bigint: true })).size).toBe(2n ** 63n - 1n)
    return `2024/07/${name}` as LibraryPath
  }

  it('that nobody knows is told of and left alone, and the others are adopted', async () => {
    const path = await put('giant.jpg')
    await writeFile(join(home.root, '2024/07/photo.jpg'), 'bytes')
    const told: string[] = []
    const reportTrouble = (path: string, { message }: Error) => told.push(path, message)
    const adopted = await adoptStrangers(home.library, { reportTrouble, signal })
    expect(adopted).toEqual({ files: 1, bytes: 5 })
    expect(told).toEqual([path, expect.stringContaining('is larger than')])
    expect(await home.db.selectFrom('files').select('path').execute()).toEqual([{ path: '2024/07/photo.jpg' }])
    const all = { isSelected: () => true, isWithin: () => true }
    const { unknown } = await walkFolders(home.library, { ...all, pause: async () => {}, signal })
    expect(unknown.map((one) => one.path)).toEqual([path])
  })

  it('in the place of an older server’s photo is no size that is recorded, and damage when it is read', async () => {
    const path = await put('old.jpg')
    await sql`insert into files (path, size, media_type) values (${path}, 5, 'image/jpeg')`.execute(home.db)
    const { db, library } = home
    await lookAtOld({ db, drive: library.drive, now: () => new Date() }, signal)
    expect(await db.selectFrom('files').select('size').where('path', '=', path).execute()).toEqual([{ size: 5 }])
    await expectDamaged(path)
  })

  it('in the place of a known original is damage', async () => {
    const path = await home.put('2024/07/known.jpg', Buffer.from('known'))
    await put('known.jpg')
    await expectDamaged(path)
  })

  /** And moved away as it is, without having been read. */
  async function expectDamaged(path: LibraryPath): Promise<void> {
    boundReads(8 * MB)
    const outcome = await verifyOriginal(home.library, path)
    expect(outcome).toMatchObject({ state: 'corrupt', found: null, isCleared: true })
    if (outcome === undefined || outcome.state === 'intact') throw new Error('nothing was found')
    const [finding] = await findFindings(home.db, [outcome.finding])
    const kept = await stat(join(home.root, finding?.quarantined ?? ''), { bigint: true })
    expect(kept.size).toBe(2n ** 63n - 1n)
  }
})
