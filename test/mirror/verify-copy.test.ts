import { mkdir, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LARGEST_ORIGINAL } from '../../src/base/budgets.ts'
import type { CopyWanted } from '../../src/catalogue/copies.ts'
import { findFindings } from '../../src/catalogue/findings.ts'
import { listDue, type Provable, recordVerified } from '../../src/catalogue/verification.ts'
import type { LibraryPath } from '../../src/format/layout.ts'
import { copyOriginal } from '../../src/mirror/copy-original.ts'
import { createMirror, type Mirror } from '../../src/mirror/mirror.ts'
import { openMirrorDrive } from '../../src/mirror/status.ts'
import { verifyCopy } from '../../src/mirror/verify-copy.ts'
import { SourceError } from '../../src/storage/copy.ts'
import { io } from '../../src/storage/io.ts'
import { verifyOriginal } from '../../src/verify/verify-original.ts'
import { noise } from '../support/media.ts'
import { isSame, type Mirrored, makeMirrored, sha256, startKeeper } from '../support/mirrored.ts'
import { boundReads } from '../support/reads.ts'
import { makeFolder, removeFolder } from '../support/server.ts'
import { until } from '../support/until.ts'

const MB = 1024 * 1024
const bytes = noise(100_000, 'copied')
let folder: string
let root: string
let home: Mirrored
let mirror: Mirror
let path: LibraryPath
let copy: Provable & CopyWanted

beforeEach(async () => {
  folder = await makeFolder()
  root = join(folder, 'mirror')
  home = await makeMirrored(join(folder, 'library'))
  path = await home.put('2024/07/IMG_0001.HEIC', bytes)
  copy = { path, checksum: sha256(bytes), size: bytes.length, isLost: false, isDated: false }
  const keeper = startKeeper(home.library, root)
  await keeper.until('ok')
  await keeper.stop()
  const { place, drive } = await openMirrorDrive(home.library, root)
  mirror = createMirror(home.library, place, drive, 0)
})

afterEach(async () => {
  await home.close()
  await removeFolder(folder)
})

it('a copy that another process has made while its place was looked at stays there', async () => {
  await rm(join(root, path))
  const { lstat } = io
  const looking = vi.spyOn(io, 'lstat').mockImplementation(async (entry) => {
    if (entry.path !== path) return lstat(entry)
    looking.mockRestore()
    const found = await lstat(entry).catch((error: unknown) => ({ error }))
    await copyOriginal(mirror, copy)
    if ('error' in found) throw found.error
    return found
  })
  await copyOriginal(mirror, copy)
  expect(await readFile(join(root, path))).toEqual(bytes)
  expect(await readdir(join(root, '.iclood/quarantine')).catch(() => [])).toEqual([])
})

/** The finding that an outcome names. */
async function findingOf(outcome: Awaited<ReturnType<typeof verifyCopy>>) {
  if (outcome === undefined || outcome.state === 'intact') throw new Error('nothing was found')
  return (await findFindings(home.db, [outcome.finding]))[0]
}

describe('a copy that is read back', () => {
  it('is intact, and the caller may record it', async () => {
    await sql`update copies set copied_at = '2020-01-01', verified_at = '2020-01-01' where place <> 0`.execute(home.db)
    const due = await listDue(home.db, mirror.place, { before: new Date('2021-01-01'), now: new Date() }, 10)
    expect(due).toEqual([copy])
    const outcome = await verifyCopy(mirror, copy)
    expect(outcome).toMatchObject({ state: 'intact', path, checksum: copy.checksum, at: expect.any(Date) })
    if (outcome?.state === 'intact') await recordVerified(home.db, mirror.place, [outcome])
    expect(await listDue(home.db, mirror.place, { before: new Date('2021-01-01'), now: new Date() }, 10)).toEqual([])
    expect(await listDue(home.db, mirror.place, { before: new Date(Date.now() + 1000), now: new Date() }, 10)).toEqual([
      copy,
    ])
  })

  it('and has one flipped bit goes to quarantine, and the library heals it', async () => {
    const rotten = Buffer.from(bytes)
    rotten.writeUInt8(rotten.readUInt8(77_777) ^ 4, 77_777)
    await writeFile(join(root, path), rotten)
    const outcome = await verifyCopy(mirror, copy)
    expect(outcome).toMatchObject({ state: 'corrupt', found: sha256(rotten), isHealed: true })
    const finding = await findingOf(outcome)
    expect(finding).toMatchObject({
      copy: 'mirror',
      kind: 'corrupt',
      path,
      expected: copy.checksum,
      found: sha256(rotten),
      healed_at: expect.any(Date),
      healed_by: 'a new copy from the library',
    })
    expect(await readFile(join(root, finding?.quarantined ?? ''))).toEqual(rotten)
    expect(await isSame(path, home.root, root)).toBe(true)
    expect(await home.copies()).toEqual([path])
  })

  it('and is not there is copied again', async () => {
    await rm(join(root, path))
    const outcome = await verifyCopy(mirror, copy)
    expect(outcome).toMatchObject({ state: 'missing', found: null, isHealed: true })
    expect(await findingOf(outcome)).toMatchObject({ copy: 'mirror', kind: 'missing', healed_at: expect.any(Date) })
    expect(await isSame(path, home.root, root)).toBe(true)
  })

  it('and can’t be read makes room for a new one', async () => {
    await rm(join(root, path))
    await mkdir(join(root, path))
    expect(await verifyCopy(mirror, copy)).toMatchObject({ state: 'unreadable', isHealed: true })
    expect(await isSame(path, home.root, root)).toBe(true)
  })

  it('and is damaged, as the original is, does not count any more and replaces nothing', async () => {
    await writeFile(join(root, path), noise(bytes.length, 'rot'))
    await writeFile(join(home.root, path), noise(bytes.length, 'more rot'))
    const outcome = await verifyCopy(mirror, copy)
    expect(outcome).toMatchObject({ state: 'corrupt', isHealed: false })
    expect(await findingOf(outcome)).toMatchObject({ healed_at: null, quarantined: expect.any(String) })
    expect(await home.copies()).toEqual([])
    expect(await readFile(join(home.root, path))).toEqual(noise(bytes.length, 'more rot'))

    // A finding is over when the next pass has copied it.
    await writeFile(join(home.root, path), bytes)
    const keeper = startKeeper(home.library, root)
    await keeper.until('ok')
    await keeper.stop()
    expect(await findingOf(outcome)).toMatchObject({ healed_by: 'a new copy from the library' })
  })

  it('and has become terabytes of nothing is moved away as it is, not read to its end, and copied again', async () => {
    await truncate(join(root, path), LARGEST_ORIGINAL)
    boundReads(8 * MB)
    const outcome = await verifyCopy(mirror, copy)
    expect(outcome).toMatchObject({ state: 'corrupt', found: null, isHealed: true })
    const { quarantined } = (await findingOf(outcome)) ?? {}
    expect((await stat(join(root, quarantined ?? ''))).size).toBe(LARGEST_ORIGINAL)
    expect(await isSame(path, home.root, root)).toBe(true)
  })

  it('is not judged while the mirror is away', async () => {
    await rm(join(root, '.iclood'), { recursive: true })
    await rm(join(root, '2024'), { recursive: true })
    await expect(verifyCopy(mirror, copy)).rejects.toMatchObject({ code: 'mirror_missing' })
    expect(await home.copies()).toEqual([path])
  })
})

describe('an original that is to be copied', () => {
  it.each(['library', 'mirror'] as const)(
    'and is terabytes of nothing on the %s is not copied, nor read to its end',
    async (where) => {
      await sql`update copies set wanted_since = now(), copied_at = null, verified_at = null where place <> 0`.execute(
        home.db,
      )
      await truncate(join(where === 'library' ? home.root : root, path), LARGEST_ORIGINAL)
      if (where === 'library') await rm(join(root, path))
      const reads = boundReads(8 * MB)
      const copying = copyOriginal(mirror, copy)
      if (where === 'library') {
        await expect(copying).rejects.toThrow(SourceError)
      } else {
        await copying
        // What was there is kept.
        expect(await readdir(join(root, '.iclood/quarantine/2024/07'))).toHaveLength(1)
        expect(await isSame(path, home.root, root)).toBe(true)
      }
      expect(reads.bytes).toBeLessThan(4 * MB)
    },
  )
})

describe('the keeper of a second copy', () => {
  const rot = () => writeFile(join(root, path), noise(bytes.length, 'rot'))
  const healed = () => until('it is healed', () => isSame(path, home.root, root).catch(() => false))
  const verifiedAt = async () =>
    (await home.db.selectFrom('copies').select('verified_at').where('place', '<>', 0).executeTakeFirst())?.verified_at

  it('reads back what is due, and heals it', async () => {
    await sql`update copies set copied_at = now() - interval '28 days', verified_at = now() - interval '28 days' where place <> 0`.execute(
      home.db,
    )
    await rot()
    let findings = 0
    const keeper = startKeeper(home.library, root, { onTrouble: () => findings++ })
    await healed()
    await until('somebody is told', async () => findings > 0)
    await keeper.stop()
  })

  it('copies again what it could not heal at once, as soon as the library has it', async () => {
    await rot()
    await writeFile(join(home.root, path), noise(bytes.length, 'more rot'))
    const keeper = startKeeper(home.library, root, { wasClean: false })
    await until('it does not count', async () => (await home.copies()).length === 0)
    await keeper.until('error')
    await writeFile(join(home.root, path), bytes)
    await keeper.until('ok')
    expect(await isSame(path, home.root, root)).toBe(true)
    await keeper.stop()
  })

  it('reads nothing back that is not due', async () => {
    const before = await verifiedAt()
    const keeper = startKeeper(home.library, root)
    await keeper.until('ok')
    const next = await home.put('2024/08/next.jpg', noise(100, 'next'))
    keeper.keeper.note({ originals: [next] })
    await until('it is copied', async () => (await home.copies()).includes(next))
    expect(await verifiedAt()).toEqual(before)
    await keeper.stop()
  })

  it('reads back first what was copied just before the server was killed', async () => {
    await rot()
    const keeper = startKeeper(home.library, root, { wasClean: false })
    await healed()
    await keeper.stop()
  })

  it('reads back what was copied just before the drive went away', async () => {
    const keeper = startKeeper(home.library, root)
    await keeper.until('ok')
    await rename(root, `${root}.away`)
    await keeper.until('missing')
    await writeFile(join(`${root}.away`, path), noise(bytes.length, 'rot'))
    await rename(`${root}.away`, root)
    await healed()
    await keeper.stop()
  })
})

describe('an original that the library has lost', () => {
  it.each(['missing', 'corrupt'] as const)('and is %s comes back from the second copy at once', async (kind) => {
    const keeper = startKeeper(home.library, root)
    await keeper.until('ok')
    if (kind === 'missing') await rm(join(home.root, path))
    else await writeFile(join(home.root, path), noise(bytes.length, 'rot'))
    const outcome = await verifyOriginal(home.library, path)
    expect(outcome).toMatchObject({ state: kind, isHealed: true })
    expect(await readFile(join(home.root, path))).toEqual(bytes)
    if (outcome === undefined || outcome.state === 'intact') throw new Error('nothing was found')
    const [finding] = await findFindings(home.db, [outcome.finding])
    expect(finding).toMatchObject({ copy: 'library', healed_by: 'the second copy' })
    await keeper.stop()
  })

  it('stays lost while the mirror is away, and comes back with it', async () => {
    const away = startKeeper(home.library, join(folder, 'nowhere'))
    await away.until('missing')
    await rm(join(home.root, path))
    expect(await verifyOriginal(home.library, path)).toMatchObject({ state: 'missing', isHealed: false })
    await away.stop()

    const keeper = startKeeper(home.library, root, {
      suspect: async (suspect) => {
        await verifyOriginal(home.library, suspect)
      },
    })
    await until('it is back', () => readFile(join(home.root, path)).catch(() => false))
    expect(await readFile(join(home.root, path))).toEqual(bytes)
    await keeper.stop()
  })

  it('does not come back from terabytes of nothing in its copy’s place, which are not copied', async () => {
    const keeper = startKeeper(home.library, root)
    await keeper.until('ok')
    await truncate(join(root, path), LARGEST_ORIGINAL)
    await rm(join(home.root, path))
    const reads = boundReads(8 * MB)
    expect(await verifyOriginal(home.library, path)).toMatchObject({ state: 'missing', isHealed: false })
    expect(reads.bytes).toBeLessThan(4 * MB)
    expect(await readdir(join(home.root, '.iclood/incoming'))).toEqual([])
    await keeper.stop()
  })

  it('does not come back as something else from a copy that is damaged itself', async () => {
    const keeper = startKeeper(home.library, root)
    await keeper.until('ok')
    await writeFile(join(root, path), noise(bytes.length, 'rot'))
    await rm(join(home.root, path))
    expect(await verifyOriginal(home.library, path)).toMatchObject({ state: 'missing', isHealed: false })
    await expect(readFile(join(home.root, path))).rejects.toMatchObject({ code: 'ENOENT' })
    await keeper.stop()
  })
})
