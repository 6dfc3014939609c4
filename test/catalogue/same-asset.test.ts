import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { announce } from '../../src/catalogue/announce.ts'
import { classify } from '../../src/catalogue/classify.ts'
import { type Database, openDatabase } from '../../src/catalogue/connection.ts'
import { ignore } from '../../src/catalogue/ignored.ts'
import { createLookUp, type Question } from '../../src/catalogue/look-up.ts'
import type { OfferedFile } from '../../src/catalogue/offered.ts'
import { gatherEvidence } from '../../src/catalogue/verdict.ts'
import type { Checksum } from '../../src/media/checksum.ts'
import { migrate } from '../../src/migrations/migrate.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'

const DAY = 86_400_000
const YEARS = 4 * 365 * DAY
const THEN = Date.UTC(2020, 6, 1, 12)
const NOW = new Date('2026-03-01T12:00:00Z')
const ADDRESS = '192.168.1.2'
const ELSEWHERE = '192.168.1.66'

let database: TestDatabase
let db: Database

beforeAll(async () => {
  database = await startTestDatabase()
  db = openDatabase({ connectionString: database.url }, () => {})
  await migrate(db)
})

afterAll(async () => {
  await db.destroy()
  await database.drop()
})

/** What one side says of a file; what it leaves out it does not know. */
interface Said {
  id?: string
  created?: number
  size?: number
  modified?: number
  checksum?: Checksum
}

/** A row of a backup, and its original. */
interface Stored extends Said {
  announcedSize?: number
  captured?: number
  /** The date that this server has found in its bytes; null: it has found none. */
  own?: number | null
  timestamp?: number | null
  /** The address that its bytes came from. */
  from?: string
  /** Whether its id came with its bytes. */
  isIdentified?: boolean
}

const sum = (digit: string) => digit.repeat(64) as Checksum
const path = (n: number) => `file:///var/mobile/Media/DCIM/100APPLE/IMG_${n}.HEIC`
const entry = (at: string, { id, created, size, modified, checksum }: Said): OfferedFile => ({
  path: at,
  id: id ?? null,
  name: 'IMG.HEIC',
  kind: 'photo',
  size: size ?? null,
  created: created ?? null,
  modified: modified ?? null,
  checksum: checksum ?? null,
})

/** Stores them, each under a path of its own, as uploads leave them. */
async function store(device: string, stored: readonly Stored[], pathOf = path): Promise<void> {
  const rows = stored.map((row, n) => ({
    path: pathOf(n),
    place: `${device}/${n}`,
    id: row.id ?? null,
    created: row.created ?? null,
    modified: row.modified ?? null,
    size: row.size ?? null,
    announced: row.announcedSize ?? null,
    checksum: row.checksum ?? null,
    captured: row.captured === undefined ? null : new Date(row.captured).toISOString(),
    own: row.own === undefined ? null : row.own === null ? '-infinity' : new Date(row.own).toISOString(),
    at: row.timestamp === null ? null : new Date(row.timestamp ?? NOW.getTime()).toISOString(),
    from: row.from ?? null,
    identified: row.isIdentified ?? false,
  }))
  const said = sql`json_to_recordset(${JSON.stringify(rows)}::json) as said (
    path text, place text, id text, created float8, modified float8, size bigint, announced bigint, checksum text,
    captured timestamptz, own timestamptz, at timestamptz, "from" text, identified boolean)`
  await sql`insert into files (path, checksum, size, captured_at, own_date, stored_at)
    select place, decode(checksum, 'hex'), size, captured, own, at from ${said}`.execute(db)
  await sql`insert into backups (device_id, original_path, asset_id, file_name, file_path, file_size, announced_size,
      file_type, created, modified, timestamp, sent_from, is_identified, status)
    select
      ${device}, path, id, 'IMG.HEIC', place, size, announced, 'photo', created, modified, at, said.from, identified, 'Completed'
    from ${said}`.execute(db)
}

/** What list and verdict say of each of these. */
async function ask(device: string, files: readonly OfferedFile[]) {
  const listed = await classify(db, device, ADDRESS, files, NOW)
  const evidence = await gatherEvidence(db, { deviceId: device, address: ADDRESS, files }, NOW)
  return files.map((_, n) => ({
    list: listed.backedUp.has(n) && !listed.ignored.has(n),
    // Of a file that is known and not proven it says "not identified", which is not "not backed up".
    verdict: (evidence[n]?.original ?? null) !== null || evidence[n]?.isUnproven === true,
    isProven: (evidence[n]?.original ?? null) !== null,
  }))
}

/** The rows that an upload from `ADDRESS` may belong to. */
async function rowsFor(
  deviceId: string,
  at: string,
  said: Pick<Question, 'assetId' | 'created'> & Partial<Pick<Question, 'taken' | 'size'>>,
) {
  const bytes = { checksum: sum('c'), size: 1000, stem: null, contentId: null, taken: null, role: 'still' } as const
  return (await createLookUp(db)({ ...bytes, deviceId, path: at, address: ADDRESS, ...said })).samePath
}

/** How one thing may stand in the entry of a list and in the row. */
const MEETINGS = ['nowhere', 'in the entry', 'in the row', 'the same in both', 'different'] as const
type Meeting = (typeof MEETINGS)[number]

function meet<Value>(meeting: Meeting, value: Value, other: Value): { entry?: Value; row?: Value } {
  return {
    ...(meeting !== 'nowhere' && meeting !== 'in the row' && { entry: value }),
    ...(meeting === 'in the row' || meeting === 'the same in both' ? { row: value } : {}),
    ...(meeting === 'different' && { row: other }),
  }
}

/** Where the bytes of the row came from; in rows of older servers nobody knows. */
const SENDERS = ['nobody knows', 'this address', 'another address'] as const
/** What came with the bytes, beside themselves: nothing, the id, a date in them, or one of another day. */
const BROUGHT = ['nothing', 'the id', 'the date', 'another date'] as const

type Case = Record<'id' | 'created' | 'size' | 'modified' | 'checksum', Meeting> & {
  sender: (typeof SENDERS)[number]
  brought: (typeof BROUGHT)[number]
}

const ALL: Case[] = MEETINGS.flatMap((id) =>
  MEETINGS.flatMap((created) =>
    MEETINGS.flatMap((size) =>
      MEETINGS.flatMap((modified) =>
        MEETINGS.flatMap((checksum) =>
          SENDERS.flatMap((sender) =>
            BROUGHT.map((brought) => ({ id, created, size, modified, checksum, sender, brought })),
          ),
        ),
      ),
    ),
  ),
)

const areBoth = (meeting: Meeting) => meeting === 'the same in both' || meeting === 'different'
const isInEntry = (meeting: Meeting) => meeting !== 'nowhere' && meeting !== 'in the row'

/** What the bytes themselves are: their size, and the date in them. */
const isOfSizeAndDate = ({ size, created, brought }: Case) =>
  size === 'the same in both' && isInEntry(created) && brought === 'the date'

/** The rule, in words as plain as can be. */
function isSame(one: Case): boolean {
  const { id, created, size, modified, checksum, sender } = one
  if (areBoth(checksum)) return checksum === 'the same in both'
  const isOwn = sender !== 'another address' ? created !== 'different' : isOfSizeAndDate(one)
  const isAsset = areBoth(id) ? id === 'the same in both' : isOwn
  return isAsset && size !== 'different' && modified !== 'different'
}

/** Of what is the same, what a phone may delete its own copy for. */
function isProven(one: Case): boolean {
  if (!isSame(one)) return false
  if (one.checksum === 'the same in both') return true
  return (one.id === 'the same in both' && one.brought === 'the id') || isOfSizeAndDate(one)
}

function sidesOf(one: Case, n: number): { said: Said; stored: Stored } {
  const at = {
    id: meet(one.id, `${n}/L0/001`, `other ${n}/L0/001`),
    created: meet(one.created, THEN, THEN - YEARS),
    size: meet(one.size, 1000, 2000),
    modified: meet(one.modified, THEN + 5, THEN + 6),
    // Contents of their own, so that none is found under the path of another.
    checksum: meet(one.checksum, sum('a').slice(0, 56) + hex(n), sum('b').slice(0, 56) + hex(n)),
  }
  const side = (which: 'entry' | 'row'): Said =>
    Object.fromEntries(
      Object.entries(at).flatMap(([name, { [which]: value }]) => (value === undefined ? [] : [[name, value]])),
    )
  const from = { 'nobody knows': {}, 'this address': { from: ADDRESS }, 'another address': { from: ELSEWHERE } }
  const own = { nothing: null, 'the id': null, 'the date': THEN, 'another date': THEN - 2 * YEARS }[one.brought]
  const brought = { own, isIdentified: one.brought === 'the id' }
  return { said: side('entry'), stored: { ...side('row'), ...from[one.sender], ...brought } }
}

const hex = (n: number) => n.toString(16).padStart(8, '0')

describe('of all combinations of id, created, size, modified and checksum on either side, address and evidence', () => {
  it('list and verdict call the same ones backed up, and no other; safe are those that are proven', async () => {
    const sides = ALL.map(sidesOf)
    await store(
      'all',
      sides.map(({ stored }) => stored),
    )
    const said = await ask(
      'all',
      sides.map(({ said }, n) => entry(path(n), said)),
    )
    expect(ALL).toHaveLength(37_500)
    const wrong = ALL.flatMap((one, n) => {
      const expected = { list: isSame(one), verdict: isSame(one), isProven: isProven(one) }
      return JSON.stringify(said[n]) === JSON.stringify(expected) ? [] : [{ ...one, expected, ...said[n] }]
    })
    expect(wrong).toEqual([])
  })

  it('an upload belongs to the rows of which the list says so, by id and date; its content decides the rest', async () => {
    const cases = ALL.filter(
      ({ size, modified, checksum, brought }) =>
        [size, modified, checksum].every((is) => is === 'nowhere') && brought === 'nothing',
    )
    const sides = cases.map(sidesOf)
    await store(
      'uploads',
      sides.map(({ stored }) => stored),
    )
    const listed = await ask(
      'uploads',
      sides.map(({ said }, n) => entry(path(n), said)),
    )
    for (const [n, { said }] of sides.entries()) {
      const rows = await rowsFor('uploads', path(n), { assetId: said.id ?? null, created: said.created ?? null })
      expect(rows.length === 1, JSON.stringify(cases[n])).toBe(listed[n]?.list)
    }
  })

  it('an upload belongs to what was announced elsewhere only by its id, or by its size and the date in its bytes', async () => {
    const [wrong, count] = [[] as object[], { expected: 0 }]
    const cases = MEETINGS.flatMap((id) =>
      MEETINGS.flatMap((size) =>
        MEETINGS.flatMap((taken) => [ADDRESS, ELSEWHERE].map((from) => ({ id, size, taken, from }))),
      ),
    )
    for (const [n, { id, size, taken, from }] of cases.entries()) {
      const [ids, sizes, dates] = [meet(id, 'A', 'B'), meet(size, 1000, 2000), meet(taken, THEN, THEN - YEARS)]
      const row = entry(path(n), {
        ...(ids.row && { id: ids.row }),
        ...(sizes.row && { size: sizes.row }),
        ...(dates.row && { created: dates.row }),
      })
      await announce(db, 'announced', from, [row], NOW)
      // The bytes have a size, whatever was said of it.
      const question = { assetId: ids.entry ?? null, created: null, taken: dates.entry ?? null, size: sizes.entry ?? 1 }
      const found = (await rowsFor('announced', path(n), question)).length === 1
      const fits = size === 'the same in both' && taken === 'the same in both'
      const expected = areBoth(id) ? id === 'the same in both' : from === ADDRESS || fits
      count.expected += Number(expected)
      if (found !== expected) wrong.push({ id, size, taken, from, found })
    }
    expect(wrong).toEqual([])
    expect(count.expected).toBeGreaterThan(100)
  })
})

describe('a file is backed up', () => {
  let devices = 0
  const isBackedUp = async (said: Said, ...stored: Stored[]) => {
    devices++
    await store(`rule ${devices}`, stored, () => path(0))
    const [answer] = await ask(`rule ${devices}`, [entry(path(0), said)])
    expect(answer?.verdict).toBe(answer?.list)
    return answer?.list
  }

  it.each<[string, boolean, Said, Stored]>([
    ['with the date that its bytes tell', true, { created: THEN }, { captured: THEN }],
    ['with the one of two dates that fits', true, { created: THEN }, { created: THEN - YEARS, captured: THEN + DAY }],
    ['not with a date that fits none', false, { created: THEN }, { created: THEN - YEARS, captured: THEN + DAY + 1 }],
    [
      'not stored with an id and listed without, years apart',
      false,
      { created: THEN },
      { id: 'A', created: THEN - YEARS },
    ],
    [
      'not stored without an id and listed with one, years apart',
      false,
      { id: 'A', created: THEN },
      { created: THEN - YEARS },
    ],
    ['whatever its dates, if both have its id', true, { id: 'A', created: THEN }, { id: 'A', created: THEN - YEARS }],
    ['with the size that was announced', true, { size: 7 }, { size: 9, announcedSize: 7 }],
    ['with the size that arrived', true, { size: 9 }, { size: 9, announcedSize: 7 }],
    ['not with a third size', false, { size: 8 }, { size: 9, announcedSize: 7 }],
    ['not when it was created after it was stored', false, { created: THEN + DAY + 1 }, { timestamp: THEN }],
    ['when it was created the day it was stored', true, { created: THEN + DAY }, { timestamp: THEN }],
    [
      'from another address, with its size and the date that a journal tells',
      true,
      { created: THEN, size: 9 },
      { from: ELSEWHERE, size: 9, captured: THEN },
    ],
    [
      'not from another address, with the date that the phone has sent and the bytes do not have',
      false,
      { created: THEN, size: 9 },
      { from: ELSEWHERE, size: 9, created: THEN, captured: THEN, own: null },
    ],
    ['when nobody knows when it was stored', true, { created: THEN + YEARS }, { timestamp: null }],
  ])('%s', async (_, expected, said, stored) => {
    expect(await isBackedUp(said, stored)).toBe(expected)
  })

  it('as one of several rows of its path', async () => {
    const rows = [{ id: 'A', created: THEN - YEARS }, { created: THEN - YEARS }, { id: 'B', created: THEN }]
    expect(await isBackedUp({ id: 'B' }, ...rows)).toBe(true)
    expect(await isBackedUp({ created: THEN }, ...rows)).toBe(true)
    expect(await isBackedUp({ created: THEN + 2 * DAY }, ...rows)).toBe(false)
    expect(await isBackedUp({ id: 'C', created: THEN }, ...rows)).toBe(false)
  })
})

it('a verdict on a file whose id a row has does not wait for what was announced without one', async () => {
  await store('by id', [{ id: 'A', created: THEN, isIdentified: true }], () => path(0))
  await announce(db, 'by id', ADDRESS, [entry(path(0), { created: THEN - YEARS })], NOW)
  const [byId, without] = await gatherEvidence(
    db,
    { deviceId: 'by id', address: ADDRESS, files: [entry(path(0), { id: 'A' }), entry(path(0), {})] },
    NOW,
  )
  expect(byId).toMatchObject({ isPending: false, original: { path: 'by id/0' } })
  expect(without).toMatchObject({ isPending: true })
})

describe('an export from the app’s own container', () => {
  const CONTAINER = 'file:///var/mobile/Containers/Data/Application'
  const exported = (uuid: string, name = 'IMG_0042.mov') => `${CONTAINER}/${uuid}/Library/Caches/${name}`
  const ID = 'B84E8479-475C-4727-A4A4-B77AA9980897/L0/001'
  const MUTATION = 'file:///var/mobile/Media/PhotoData/Mutations/DCIM/100APPLE/IMG_0042/Adjustments/FullSizeRender.mov'
  let devices = 0

  const isBackedUp = async (at: string, said: Said, storedAt: string, stored: Stored) => {
    devices++
    await store(`exports ${devices}`, [stored], () => storedAt)
    const [answer] = await ask(`exports ${devices}`, [entry(at, said)])
    expect(answer?.verdict).toBe(answer?.list)
    return answer?.list
  }
  const said = { id: ID, created: THEN + 0.25, size: 4711 }
  const stored = { id: ID, created: THEN + 0.25, size: 5000 }

  it.each<[string, boolean, string, Said, string, Stored]>([
    ['is the same under another path and of another size', true, exported('2'), said, exported('1'), stored],
    ['is the same under /private', true, exported('2').replace('/var', '/private/var'), said, exported('1'), stored],
    ['is the same as a plain path', true, exported('2').slice(7), said, exported('1'), stored],
    ['is the same under another name', true, exported('2', 'FE12.MOV'), said, exported('1'), stored],
    ['is another one with another id', false, exported('2'), { ...said, id: 'C/L0/001' }, exported('1'), stored],
    ['is another one without an id', false, exported('2'), { created: said.created }, exported('1'), stored],
    [
      'is another one created another second',
      false,
      exported('2'),
      { ...said, created: THEN + 1000 },
      exported('1'),
      stored,
    ],
    ['is another one if nobody says when it was created', false, exported('2'), { id: ID }, exported('1'), stored],
    [
      'is another one with an id of another kind',
      false,
      exported('2'),
      { ...said, id: '7' },
      exported('1'),
      { ...stored, id: '7' },
    ],
    [
      'is another one once it was modified',
      false,
      exported('2'),
      { ...said, modified: 2 },
      exported('1'),
      { ...stored, modified: 1 },
    ],
    ['is another one of another kind of file', false, exported('2', 'IMG_0042.jpg'), said, exported('1'), stored],
    ['is not what lies in the camera roll', false, exported('2'), said, path(1), stored],
    ['does not stand for an edit', false, MUTATION, said, exported('1'), stored],
    ['is not the edit', false, exported('2'), said, MUTATION, stored],
    [
      'is another content with another checksum',
      false,
      exported('2'),
      { ...said, checksum: sum('d') },
      exported('1'),
      { ...stored, checksum: sum('e') },
    ],
  ])('%s', async (_, expected, at, one, storedAt, other) => {
    expect(await isBackedUp(at, one, storedAt, other)).toBe(expected)
  })

  it('is found by an index', async () => {
    const { rows } = await sql<{ 'QUERY PLAN': string }>`
      explain select from backups where iclood_export_key(device_id, asset_id, original_path) = md5('x')::uuid
    `.execute(db)
    expect(rows.map((row) => row['QUERY PLAN']).join('\n')).toContain('backups_exported')
  })
})

describe('what a person ignores', () => {
  let devices = 0
  const IGNORED_AT = new Date(THEN)

  const isIgnored = async (said: Said, ...ignored: Said[]) => {
    devices++
    const device = `ignorer ${devices}`
    for (const one of ignored) await ignore(db, device, ADDRESS, [entry(path(0), one)], IGNORED_AT)
    const files = [entry(path(0), said)]
    const { ignored: listed } = await classify(db, device, ADDRESS, files, NOW)
    const [evidence] = await gatherEvidence(db, { deviceId: device, address: ADDRESS, files }, NOW)
    expect(evidence?.isIgnored).toBe(listed.has(0))
    return listed.has(0)
  }

  it.each<[string, boolean, Said, Said]>([
    ['is the asset of that id', true, { id: 'A', created: THEN - YEARS, size: 1 }, { id: 'A', created: THEN, size: 2 }],
    ['is no other asset of that path', false, { id: 'B', created: THEN }, { id: 'A', created: THEN }],
    ['without an id is that of its date', true, { id: 'B', created: THEN - DAY }, { created: THEN }],
    ['without an id is none of another date', false, { id: 'B', created: THEN - DAY - 1 }, { created: THEN }],
    ['listed without an id is that of its date', true, { created: THEN - DAY }, { id: 'A', created: THEN }],
    ['listed without an id is none of another date', false, { created: THEN - YEARS }, { id: 'A', created: THEN }],
    ['without an id is none of another size', false, { created: THEN, size: 2 }, { created: THEN, size: 1 }],
    [
      'of which nothing is known but its path is anything that was there',
      true,
      { id: 'A', created: THEN, size: 9 },
      {},
    ],
    ['of which nothing is known but its path is nothing newer', false, { id: 'A', created: THEN + 1 }, {}],
    ['of which nothing is known but its path is that path', true, {}, {}],
    ['of which its size is known is nothing newer', false, { created: THEN + 1, size: 1 }, { size: 1 }],
  ])('%s', async (_, expected, said, ignored) => {
    expect(await isIgnored(said, ignored)).toBe(expected)
  })

  it('is each of several assets of one path', async () => {
    const all = [
      { id: 'A', created: THEN },
      { id: 'B', created: THEN - YEARS },
    ]
    for (const one of all) expect(await isIgnored(one, ...all)).toBe(true)
    expect(await isIgnored({ id: 'C', created: THEN }, ...all)).toBe(false)
  })

  it('long ago, when nobody wrote down when, is that path for ever', async () => {
    await sql`insert into ignored_files (file_name, device_id, original_path) values ('x', 'flask', ${path(0)})`.execute(
      db,
    )
    const { ignored } = await classify(db, 'flask', ADDRESS, [entry(path(0), { id: 'A', created: THEN + YEARS })], NOW)
    expect(ignored.has(0)).toBe(true)
  })
})
