import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { KeyedLock } from '../../src/base/keyed-lock.ts'
import { sumBackups } from '../../src/catalogue/backups.ts'
import { findBacklog } from '../../src/catalogue/copies.ts'
import { findWalk, recordWalk } from '../../src/catalogue/library.ts'
import { LIBRARY, rememberMirror } from '../../src/catalogue/places.ts'
import {
  countByState,
  findLastBackup,
  findLastProof,
  findOldestProof,
  listDue,
  nextDue,
} from '../../src/catalogue/verification.ts'
import { offer } from '../../src/phones/offer.ts'
import { judge } from '../../src/phones/verdict.ts'
import { ContinuousVerification } from '../../src/verify/continuous.ts'
import { noise } from '../support/media.ts'
import { type Mirrored, makeMirrored, sha256 } from '../support/mirrored.ts'
import { makeFolder, removeFolder } from '../support/server.ts'
import { until } from '../support/wire.ts'

/*
 * The clock was years ahead once: what was written down then lies in the future now.
 */

const HOUR = 60 * 60 * 1000
const MONTH = 30 * 24 * HOUR
const AHEAD = new Date(Date.now() + 4 * 365 * 24 * HOUR)
const PATH = '2024/01/a.jpg'
const bytes = noise(1000, PATH)
const now = () => new Date()

let root: string
let made: Mirrored
beforeEach(async () => {
  root = await makeFolder()
  made = await makeMirrored(root)
  await made.put(PATH, bytes)
})
afterEach(async () => {
  await made.close()
  await removeFolder(root)
})

async function date({ stored_at, verified_at }: { stored_at?: Date; verified_at?: Date | null }): Promise<void> {
  if (stored_at !== undefined) await made.db.updateTable('files').set({ stored_at }).where('path', '=', PATH).execute()
  const columns = { ...(stored_at && { copied_at: stored_at }), ...(verified_at !== undefined && { verified_at }) }
  await made.db.updateTable('copies').set(columns).where('place', '=', LIBRARY).where('path', '=', PATH).execute()
}

const ask = async () => {
  const court = { db: made.db, library: made.library, reading: new KeyedLock() }
  const file = {
    path: '/x',
    name: 'x',
    id: null,
    created: null,
    modified: null,
    size: null,
    kind: 'photo' as const,
    checksum: sha256(bytes),
  }
  const [verdict] = await judge(
    court,
    { deviceId: 'iPhone', address: null, files: [file] },
    { bytes: 1e9, until: performance.now() + 60_000 },
  )
  return verdict
}

it('an original that was read back then is due at once and counts as not read back', async () => {
  await date({ verified_at: AHEAD })
  expect(await listDue(made.db, LIBRARY, { before: new Date(0), now: now() }, 10)).toMatchObject([{ path: PATH }])
  expect(await findOldestProof(made.db, LIBRARY, now())).toBe(Number.NEGATIVE_INFINITY)
  const at = now()
  expect(await nextDue(made.db, MONTH, at)).toEqual(at)
  expect(await countByState(made.db, now())).toMatchObject({
    intact: { files: 0, bytes: 0 },
    unverified: { files: 1, bytes: 1000 },
    oldest: null,
  })
})

it('one that was stored then and never read back is due as well', async () => {
  await date({ stored_at: AHEAD })
  expect(await listDue(made.db, LIBRARY, { before: new Date(0), now: now() }, 10)).toMatchObject([{ path: PATH }])
})

it('a clock that is off by a time zone is no such clock', async () => {
  await date({ verified_at: new Date(Date.now() + 14 * HOUR) })
  expect(await listDue(made.db, LIBRARY, { before: new Date(0), now: now() }, 10)).toEqual([])
  expect(await countByState(made.db, now())).toMatchObject({ intact: { files: 1 } })
})

it('no verdict rests on it: the original is read back now, and a damaged one is told', async () => {
  await date({ stored_at: AHEAD, verified_at: AHEAD })
  const verdict = await ask()
  expect(verdict).toMatchObject({ safe: true, storedAt: null })
  expect(verdict?.safe && verdict.verifiedAt.getTime()).toBeLessThan(Date.now() + HOUR)

  await date({ verified_at: AHEAD })
  await writeFile(join(root, PATH), noise(1000, 'something else'))
  expect(await ask()).toMatchObject({ safe: false, reason: 'corrupt' })
})

it('it is read back in the background, the folders are compared, and then nothing is due any more', async () => {
  await date({ stored_at: AHEAD, verified_at: AHEAD })
  await recordWalk(made.db, AHEAD)
  await sql`update places set since = ${AHEAD.toISOString()}::timestamptz`.execute(made.db)
  const ending = new AbortController()
  const log = { info: () => {}, warn: () => {} }
  const options = { every: MONTH, isBusy: () => false, log, onFinding: () => {} }
  const running = new ContinuousVerification(made.library, options).run(ending.signal).catch(() => {})
  const isPast = (time: Date | null | undefined) => time instanceof Date && time < new Date()
  await until('it is read back', async () =>
    isPast((await made.db.selectFrom('originals').select('verified_at').executeTakeFirst())?.verified_at),
  )
  await until('the folders are compared', async () => isPast(await findWalk(made.db)))
  ending.abort()
  await running
  expect((await nextDue(made.db, MONTH, now()))?.getTime()).toBeGreaterThan(Date.now() + MONTH / 2)
})

it('copies are due at once, and the last copy is one that can be believed', async () => {
  await made.put('2024/01/b.jpg', noise(10, 'b'))
  const copied = new Date(Date.now() - HOUR)
  const { id } = await rememberMirror(made.db, randomUUID())
  await made.db
    .insertInto('copies')
    .values([
      { place: id, path: PATH, copied_at: AHEAD, verified_at: AHEAD },
      { place: id, path: '2024/01/b.jpg', copied_at: copied, verified_at: null },
    ])
    .execute()
  expect(await listDue(made.db, id, { before: new Date(0), now: now() }, 10)).toMatchObject([{ path: PATH }])
  expect(await findOldestProof(made.db, id, now())).toBe(Number.NEGATIVE_INFINITY)
  expect(await findLastProof(made.db, id, now())).toEqual(copied)
})

it('what waits for its copy since then has waited for a day', async () => {
  const { id } = await rememberMirror(made.db, randomUUID())
  await made.db.insertInto('copies').values({ place: id, path: PATH, wanted_since: AHEAD }).execute()
  const at = now()
  expect((await findBacklog(made.db, id, at)).oldest).toEqual(new Date(at.getTime() - 24 * HOUR))
})

it('the last backup is the last one that can be believed', async () => {
  const last = new Date(Date.now() - HOUR)
  for (const timestamp of [last, AHEAD]) {
    await sql`
      insert into backups (device_id, original_path, file_name, file_type, status, timestamp, file_path)
      values ('iPhone', ${String(+timestamp)}, 'a', 'photo', 'Completed', ${timestamp.toISOString()}::timestamptz, ${PATH})
    `.execute(made.db)
  }
  expect(await findLastBackup(made.db, now())).toEqual(last)
  expect((await sumBackups(made.db, now())).last).toEqual(last)
})

it('what was announced then is announced anew when it is listed again', async () => {
  const context = { db: made.db, drive: made.library.drive, now }
  const file = {
    path: '/y',
    name: 'y',
    id: 'y',
    created: 1,
    modified: 1,
    size: 1,
    kind: 'photo' as const,
    checksum: null,
  }
  const announced = async () => {
    await offer(context, 'iPhone', '192.168.1.2', [file])
    return (await made.db.selectFrom('backups').select('timestamp').executeTakeFirstOrThrow()).timestamp
  }
  await announced()
  await made.db.updateTable('backups').set({ timestamp: AHEAD }).execute()
  expect((await announced())?.getTime()).toBeLessThan(Date.now() + HOUR)
})
