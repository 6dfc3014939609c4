import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import {
  ASSETS_OF_A_PATH,
  DEVICES_OF_AN_ADDRESS,
  EMPTY_SHARES,
  PATH_LENGTH,
  ROWS_OF_AN_ORIGINAL,
  WAITING_DAYS,
} from '../../src/base/budgets.ts'
import { noteSeen } from '../../src/catalogue/devices.ts'
import type { OfferedFile } from '../../src/catalogue/offered.ts'
import { ignore } from '../../src/phones/ignore.ts'
import { offer } from '../../src/phones/offer.ts'
import { type InProcessServer, startInProcess } from '../support/in-process.ts'
import { jpeg } from '../support/media.ts'
import { post, upload } from '../support/phone.ts'
import { startTestDatabase } from '../support/postgres.ts'
import { makeFolder } from '../support/server.ts'

const DAY = 86_400_000
const NOW = new Date('2026-06-01T12:00:00Z')
const PHONE = '192.168.1.2'
const GUEST = '192.168.1.66'
const BOUNDS = { all: 60, each: 30, device: 40 }

let server: InProcessServer
beforeAll(async () => {
  server = await startInProcess(await makeFolder(), await startTestDatabase())
})
afterAll(() => server.stop())
beforeEach(async () => {
  await sql`delete from backups where status <> 'Completed'`.execute(server.db)
  await sql`delete from ignored_files`.execute(server.db)
})

const file = (path: string, given: Partial<OfferedFile> = {}): OfferedFile => ({
  path,
  id: null,
  name: 'IMG.JPG',
  kind: 'photo',
  size: null,
  created: null,
  modified: null,
  checksum: null,
  ...given,
})
const filesOf = (prefix: string, count: number) => Array.from({ length: count }, (_, n) => file(`/${prefix}/${n}.JPG`))

let minutes = 0
/** Announces these, each time a minute later; whatever is remembered, all are asked for. */
async function announce(
  device: string,
  address: string,
  files: OfferedFile[],
  now = new Date(NOW.getTime() + minutes++ * 60_000),
) {
  const context = {
    db: server.db,
    drive: server.library.drive,
    now: () => now,
    waiting: BOUNDS,
  }
  const sorted = await offer(context, device, address, files)
  expect(sorted.new).toHaveLength(files.length)
}

/** How many wait, by device, address and folder on the phone. */
async function waiting(): Promise<Record<string, number>> {
  const { rows } = await sql<{ who: string; count: number }>`
    select device_id || ' ' || announced_from || ' ' || split_part(original_path, '/', 2) as who, count(*) as count
    from backups where status <> 'Completed' group by 1`.execute(server.db)
  return Object.fromEntries(rows.map(({ who, count }) => [who, count]))
}

it('an address has its share of rows that wait; past it its own oldest go', async () => {
  await announce('iPhone', PHONE, filesOf('a', 10))
  await announce('guest', GUEST, filesOf('old', 20))
  await announce('guest', GUEST, filesOf('new', BOUNDS.each - 20))
  const atBound = { [`iPhone ${PHONE} a`]: 10, [`guest ${GUEST} old`]: 20, [`guest ${GUEST} new`]: 10 }
  expect(await waiting()).toEqual(atBound)
  await announce('guest', GUEST, filesOf('newest', 1))
  expect(await waiting()).toEqual({ ...atBound, [`guest ${GUEST} old`]: 19, [`guest ${GUEST} newest`]: 1 })
  await announce('guest', GUEST, filesOf('many', 100))
  expect(await waiting()).toEqual({ [`iPhone ${PHONE} a`]: 10, [`guest ${GUEST} many`]: BOUNDS.each })
})

it('a guest who takes a phone’s name takes none of its rows', async () => {
  await announce('iPhone', PHONE, filesOf('a', 15))
  await announce('iPhone', GUEST, filesOf('b', BOUNDS.device - 15))
  expect(await waiting()).toEqual({ [`iPhone ${PHONE} a`]: 15, [`iPhone ${GUEST} b`]: 25 })
  await announce('iPhone', GUEST, filesOf('c', 5))
  expect(await waiting()).toEqual({ [`iPhone ${PHONE} a`]: 15, [`iPhone ${GUEST} b`]: 20, [`iPhone ${GUEST} c`]: 5 })
  // Nor does a phone that comes when there is no room.
  await announce('iPhone', PHONE, filesOf('d', 3))
  expect(await waiting()).toMatchObject({
    [`iPhone ${PHONE} a`]: 15,
    [`iPhone ${PHONE} d`]: 3,
    [`iPhone ${GUEST} b`]: 17,
  })
})

it('of all rows who has the most gives way', async () => {
  await announce('guest', GUEST, filesOf('a', BOUNDS.each))
  await announce('other', '192.168.1.67', filesOf('b', 20))
  await announce('iPhone', PHONE, filesOf('c', 10))
  expect(Object.values(await waiting()).sort()).toEqual([10, 20, 30])
  await announce('iPhone', PHONE, filesOf('d', 5))
  expect(await waiting()).toMatchObject({
    [`guest ${GUEST} a`]: 25,
    [`iPhone ${PHONE} c`]: 10,
    [`iPhone ${PHONE} d`]: 5,
  })
})

it('rows that failed count, too, and the journal hears that they are gone', async () => {
  await announce('guest', GUEST, filesOf('a', BOUNDS.each))
  await sql`update backups set status = 'Failed', failure = 'cut off' where device_id = 'guest'`.execute(server.db)
  await server.db.deleteFrom('outbox').execute()
  await announce('guest', GUEST, filesOf('b', 4))
  expect(await waiting()).toEqual({ [`guest ${GUEST} a`]: 26, [`guest ${GUEST} b`]: 4 })
  await announce('guest', GUEST, filesOf('c', BOUNDS.each))
  await announce('guest', GUEST, filesOf('e', BOUNDS.each))
  expect(await waiting()).not.toHaveProperty(`guest ${GUEST} a`)
  expect(await server.db.selectFrom('outbox').selectAll().execute()).toHaveLength(BOUNDS.each)
})

it('an address may have rows of so many devices, and of no other one; who comes from elsewhere may', async () => {
  for (let n = 0; n < DEVICES_OF_AN_ADDRESS; n++) {
    await sql`
      insert into backups (device_id, original_path, file_name, file_type, announced_from, timestamp, status)
      values (${`made up ${n}`}, '/a.jpg', 'a.jpg', 'photo', ${GUEST}, ${NOW}, 'Pending')`.execute(server.db)
    if (n < DEVICES_OF_AN_ADDRESS - 1) continue
    const context = { db: server.db, drive: server.library.drive, now: () => NOW }
    for (const [device, address] of [
      ['one more', GUEST],
      ['made up 0', GUEST],
      ['iPhone', PHONE],
    ] as const) {
      expect((await offer(context, device, address, filesOf('more', 1))).new).toHaveLength(1)
    }
    await expect(ignore({ db: server.db, now: () => NOW }, 'made up 0', GUEST, filesOf('x', 1))).resolves.toMatchObject(
      { count: 1 },
    )
  }
  const { rows } = await sql<{ device: string }>`
    select device_id as device from backups where original_path like '/more/%' order by 1`.execute(server.db)
  expect(rows.map(({ device }) => device)).toEqual(['iPhone', 'made up 0'])
})

it('names that have nothing left are forgotten once they are many, and those that have backed something up are not', async () => {
  const { db } = server
  const bytes = jpeg({ seed: 'of a phone' })
  await upload(server.url, bytes, { fields: { device_id: 'iPhone', original_path: '/kept.jpg' } })
  await announce('iPhone', PHONE, filesOf('a', 1))
  await noteSeen(db, 'iPhone', true, NOW)
  const names = sql`select 'made up ' || n as name from generate_series(0, ${EMPTY_SHARES}) as n`
  await sql`
    insert into backups (device_id, original_path, file_name, file_type, announced_from, timestamp, status)
    select name, '/a.jpg', 'a.jpg', 'photo', ${GUEST}, ${NOW}, 'Pending' from (${names}) as names`.execute(db)
  await sql`insert into ignored_files (device_id, original_path, file_name, ignored_from)
    select name, '/a.jpg', 'a.jpg', ${GUEST} from (${names}) as names`.execute(db)
  await sql`insert into devices (device_id, last_seen) select name, now() from (${names}) as names`.execute(db)
  for (const table of ['backups', 'ignored_files']) {
    await sql`delete from ${sql.table(table)} where device_id like 'made up %'`.execute(db)
  }
  // Of the phone, too, nothing is left that waits.
  await sql`delete from backups where device_id = 'iPhone' and status <> 'Completed'`.execute(db)
  const named = async () => {
    const { rows } = await sql<{ place: string; name: string }>`
      select distinct place, device_id as name from (
        select 'totals' as place, device_id from backup_totals union all select 'devices', device_id from devices
        union all select 'shares', device_id from row_shares
      ) as known where device_id = 'iPhone' or device_id like 'made up %' order by 1, 2`.execute(db)
    return rows.map(({ place, name }) => `${place}: ${name}`)
  }
  expect(await named()).toHaveLength(3 * (EMPTY_SHARES + 1) + 3)
  await announce('other', PHONE, filesOf('b', 1))
  expect(await named()).toEqual(['devices: iPhone', 'totals: iPhone'])
})

it('a path has its bound of rows that wait, from each address', async () => {
  const ofPath = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, n) => file('/same/IMG.JPG', { id: `${from + n}` }))
  const context = { db: server.db, drive: server.library.drive, now: () => NOW }
  await offer(context, 'iPhone', GUEST, ofPath(0, 10))
  await offer(context, 'iPhone', GUEST, ofPath(10, ASSETS_OF_A_PATH))
  expect(await waiting()).toEqual({ [`iPhone ${GUEST} same`]: ASSETS_OF_A_PATH })
  expect((await offer(context, 'iPhone', GUEST, ofPath(100, 110))).new).toHaveLength(10)
  expect((await offer(context, 'iPhone', PHONE, ofPath(200, 201))).new).toHaveLength(1)
  expect(await waiting()).toEqual({ [`iPhone ${GUEST} same`]: ASSETS_OF_A_PATH, [`iPhone ${PHONE} same`]: 1 })
})

it(`what no list names any more waits for ${WAITING_DAYS} days at the latest`, async () => {
  await announce('never sent', PHONE, filesOf('a', 3), NOW)
  await announce('other', PHONE, filesOf('b', 1), new Date(NOW.getTime() + (WAITING_DAYS - 1) * DAY))
  expect(await waiting()).toMatchObject({ [`never sent ${PHONE} a`]: 3 })
  await announce('other', PHONE, filesOf('c', 1), new Date(NOW.getTime() + (WAITING_DAYS + 1) * DAY))
  expect(await waiting()).not.toHaveProperty(`never sent ${PHONE} a`)
  const { rows } = await sql`select from backup_totals where device_id = 'never sent'`.execute(server.db)
  expect(rows).toEqual([])
})

it('an address may ignore its share; past it the request is refused and nothing changes, and others may go on', async () => {
  const bounds = { all: 40, each: 30 }
  const ignoring = (address: string, files: OfferedFile[]) =>
    ignore({ db: server.db, now: () => NOW, bounds }, 'iPhone', address, files)
  expect((await ignoring(GUEST, filesOf('a', 30))).count).toBe(30)
  await expect(ignoring(GUEST, filesOf('b', 1))).rejects.toMatchObject({ code: 'busy' })
  expect((await ignoring('192.168.1.67', filesOf('c', 10))).count).toBe(10)
  // Beyond all, who has little has a little more.
  expect((await ignoring(PHONE, filesOf('d', 3))).count).toBe(3)
  await expect(ignoring(PHONE, filesOf('e', 1))).rejects.toMatchObject({ code: 'busy' })
  const { rows } = await sql<{ count: number }>`select count(*) as count from ignored_files`.execute(server.db)
  expect(rows[0]?.count).toBe(43)
})

it('lists make a bounded number of rows of one original, and are told that it is backed up all the same', async () => {
  const bytes = jpeg({ seed: 'known' })
  const { body } = await upload(server.url, bytes, { fields: { device_id: 'iPhone', original_path: '/known.jpg' } })
  const sha256 = body.backup.sha256
  for (let round = 0; round < 2; round++) {
    const files = Array.from({ length: ROWS_OF_AN_ORIGINAL }, (_, n) => ({ path: `/copies/${round}/${n}.JPG`, sha256 }))
    const answer = await post(server.url, '/photos/new', { device_id: 'copies', files })
    expect(answer.body).toMatchObject({ count: 0, backed_up_count: ROWS_OF_AN_ORIGINAL })
  }
  const { rows } = await sql<{ count: number }>`
    select count(*) as count from backups where file_path = ${body.backup.file_path}`.execute(server.db)
  expect(rows[0]?.count).toBe(ROWS_OF_AN_ORIGINAL)
})

it('a path has at most 4 KB', async () => {
  const path = '/'.padEnd(PATH_LENGTH, 'x')
  const { body } = await post(server.url, '/photos/new', { device_id: 'long', files: [{ path }, { path: `${path}x` }] })
  expect(body).toMatchObject({ count: 1, invalid: [{ index: 1 }] })
  const sent = await upload(server.url, jpeg({ seed: 'long' }), { fields: { original_path: `${path}x` } })
  expect(sent).toMatchObject({ status: 400, body: { code: 'invalid_request' } })
})
