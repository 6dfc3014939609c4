import { randomUUID } from 'node:crypto'
import { Migrator, sql } from 'kysely'
import { describe, expect, it } from 'vitest'
import { type Database, openDatabase } from '../../src/catalogue/connection.ts'
import { findBacklog, findCopiesOf, listWanted, recordCopies, recordCopyLost } from '../../src/catalogue/copies.ts'
import { findLibraryId } from '../../src/catalogue/library.ts'
import { forgetMirror, LIBRARY, listForMirror, listMirrors, rememberMirror } from '../../src/catalogue/places.ts'
import { countByState } from '../../src/catalogue/verification.ts'
import type { Checksum } from '../../src/media/checksum.ts'
import { MIGRATIONS, migrate } from '../../src/migrations/migrate.ts'
import { startEmptyDatabase, startTestDatabase, type TestDatabase } from '../support/postgres.ts'

const open = ({ connection }: TestDatabase) => openDatabase(connection, () => {})
/** More than are filled in at a time. */
const MANY = 25_000

/** What is counted of copies, and the same counted anew. */
async function counts(db: Database): Promise<{ kept: unknown; counted: unknown }> {
  const { rows } = await sql<{ kept: unknown; counted: unknown }>`
    select
      (select json_agg(totals order by place, state, kind) from (
        select place, state, kind, files, bytes from place_totals where files <> 0
      ) as totals) as kept,
      (select json_agg(totals order by place, state, kind) from (
        select
          place,
          case
            when lost_at is not null then 'lost' when wanted_since is not null then 'wanted'
            when checksum is null then 'unread' when verified_at is null then 'unverified' else 'intact'
          end as state,
          case when media_type like 'video/%' then 'video' else 'photo' end as kind,
          count(*) as files, coalesce(sum(size), 0) as bytes
        from copies join files using (path) group by 1, 2, 3
      ) as totals) as counted`.execute(db)
  return rows[0] ?? { kept: null, counted: null }
}

describe('a database of before there were places', () => {
  const mirror = randomUUID()
  const library = randomUUID()

  async function household(): Promise<Database> {
    const db = open(await startEmptyDatabase())
    const earlier = new Migrator({ db, provider: { getMigrations: async () => MIGRATIONS } })
    expect((await earlier.migrateTo('0014-outbox')).error).toBeUndefined()
    await sql`insert into library (id, mirror_id, stopped_cleanly, looked_until) values (${library}, ${mirror}, true, null)`.execute(
      db,
    )
    await sql`
      insert into files (path, checksum, size, media_type, stored_at, verified_at, missing_at, recheck)
      select
        '2024/07/' || n || '.JPG', case when n % 10 <> 1 then sha256(n::text::bytea) end, n, 'image/jpeg', '2024-07-01',
        case when n % 10 = 2 then timestamptz '2024-08-01' end, case when n % 10 = 3 then timestamptz '2024-09-01' end, n % 10 = 4
      from generate_series(1, ${MANY}::int) as n`.execute(db)
    await sql`
      insert into copies (path, copied_at, verified_at)
      select path, '2024-10-01', case when size % 100 = 5 then timestamptz '-infinity' else timestamptz '2024-11-01' end
      from files where size % 2 = 1 and checksum is not null`.execute(db)
    await sql`
      insert into findings (copy, kind, path, found_at)
      values ('library', 'missing', '2024/07/3.JPG', now()), ('mirror', 'corrupt', '2024/07/5.JPG', now())`.execute(db)
    await sql`delete from outbox`.execute(db)
    return db
  }

  async function expectFilled(db: Database): Promise<void> {
    expect(await findLibraryId(db)).toBe(library)
    const [place] = await listMirrors(db)
    expect(place).toMatchObject({ identity: mirror })
    const { kept, counted } = await counts(db)
    expect(kept).toEqual(counted)
    expect(await countByState(db, new Date())).toMatchObject({
      intact: { files: MANY / 10 },
      unverified: { files: (MANY * 7) / 10 },
      unread: { files: MANY / 10 },
      lost: { files: MANY / 10 },
    })
    const { rows } = await sql<{ copies: number; recheck: number; wanted: number }>`
      select
        count(*) filter (where wanted_since is null) as copies, count(*) filter (where recheck) as recheck,
        count(*) filter (where wanted_since is not null) as wanted
      from copies where place = ${place?.id}`.execute(db)
    // Every second one, but those that nobody has read.
    expect(rows).toEqual([{ copies: (MANY * 4) / 10, recheck: MANY / 100, wanted: MANY / 2 }])
    expect(await listWanted(db, place?.id ?? -1, 2)).toHaveLength(2)
    const { rows: findings } = await sql`select place, kind from findings order by place`.execute(db)
    expect(findings).toEqual([
      { place: LIBRARY, kind: 'missing' },
      { place: place?.id, kind: 'corrupt' },
    ])
    // Nothing has changed that the journal tells of.
    expect((await db.selectFrom('outbox').selectAll().execute()).length).toBe(0)
  }

  it('knows of each copy what it knew', async () => {
    const db = await household()
    const progress: number[] = []
    await migrate(db, (originals) => progress.push(originals))
    expect(progress).toEqual([10_000, 20_000, 30_000])
    await expectFilled(db)
  })

  it('goes on where it was interrupted', async () => {
    const db = await household()
    const interrupted = migrate(db, () => {
      throw new Error('the power went')
    })
    await expect(interrupted).rejects.toThrow('the power went')
    await Promise.all([migrate(db), migrate(db)])
    await expectFilled(db)
  })
})

describe('a new mirror', () => {
  const content = (n: number) => `${String(n).padStart(2, '0')}`.repeat(32) as Checksum

  async function filled(): Promise<Database> {
    const db = open(await startTestDatabase())
    await sql`
      insert into files (path, checksum, size, media_type, stored_at)
      select '2024/07/' || n, decode(repeat(lpad(n::text, 2, '0'), 32), 'hex'), n, 'image/jpeg', timestamptz '2024-07-01' + n * interval '1 hour'
      from generate_series(1, 30) as n`.execute(db)
    return db
  }

  it('wants all that is there, portion by portion, and what comes, which is first', async () => {
    const db = await filled()
    const { id } = await rememberMirror(db, randomUUID())
    await sql`insert into files (path, checksum, size, stored_at) values ('2024/08/new', sha256('new'), 1, now())`.execute(
      db,
    )
    expect((await listWanted(db, id, 9)).map(({ path }) => path)).toEqual(['2024/08/new'])
    expect(await findBacklog(db, id, new Date())).toMatchObject({ files: 31 })
    expect(await listForMirror(db, id, 20)).toBe(false)
    expect(await listForMirror(db, id, 20)).toBe(false)
    expect(await listForMirror(db, id, 20)).toBe(true)
    expect((await listWanted(db, id, 3)).map(({ path }) => path)).toEqual(['2024/08/new', '2024/07/30', '2024/07/29'])
    expect((await listWanted(db, id, 1, ['2024/08/new']))[0]).toEqual({
      path: '2024/07/30',
      checksum: content(30),
      size: 30,
    })
  })

  it('is counted by itself, whatever happens to originals and copies', async () => {
    const db = await filled()
    const mirrors = [await rememberMirror(db, randomUUID()), await rememberMirror(db, randomUUID())]
    expect(mirrors.map(({ id }) => id)).toEqual([1, 2])
    expect((await rememberMirror(db, mirrors[1]?.identity ?? '')).id).toBe(2)
    for (const { id } of mirrors) await listForMirror(db, id, 100)
    const paths = [1, 2, 3].map((n) => ({ path: `2024/07/${n}`, checksum: content(n) }))
    await recordCopies(db, 1, [...paths, { path: '2024/07/4', checksum: content(5) }], new Date())
    await recordCopies(db, 2, paths.slice(0, 1), new Date())
    expect(await recordCopyLost(db, 1, '2024/07/2', new Date())).toBe(true)
    expect(await recordCopyLost(db, 1, '2024/07/2', new Date())).toBe(false)
    await sql`update files set size = 1000, media_type = 'video/mp4' where path = '2024/07/1'`.execute(db)
    await sql`delete from files where path in ('2024/07/3', '2024/07/30')`.execute(db)
    const { kept, counted } = await counts(db)
    expect(kept).toEqual(counted)
    expect((await findBacklog(db, 1, new Date())).files).toBe(27)
    expect((await findBacklog(db, 2, new Date())).files).toBe(27)
    expect(await findCopiesOf(db, content(1))).toEqual([
      { place: 1, path: '2024/07/1' },
      { place: 2, path: '2024/07/1' },
    ])
    await forgetMirror(db, 1)
    expect((await listMirrors(db)).map(({ id }) => id)).toEqual([2])
    const left = await counts(db)
    expect(left.kept).toEqual(left.counted)
    expect((await findBacklog(db, 2, new Date())).files).toBe(27)
  })

  it('waits for what the library has lost, and for what nobody has read', async () => {
    const db = await filled()
    const { id } = await rememberMirror(db, randomUUID())
    await listForMirror(db, id, 100)
    await sql`update copies set wanted_since = now(), lost_at = now() where place = 0 and path <> '2024/07/7'`.execute(
      db,
    )
    await sql`insert into files (path, size) values ('2023/01/unread', 5)`.execute(db)
    expect((await listWanted(db, id, 9)).map(({ path }) => path)).toEqual(['2024/07/7'])
    expect(await findBacklog(db, id, new Date())).toMatchObject({ files: 2, bytes: 12 })
    await sql`update files set checksum = sha256('read') where path = '2023/01/unread'`.execute(db)
    expect((await listWanted(db, id, 9)).map(({ path }) => path).sort()).toEqual(['2023/01/unread', '2024/07/7'])
  })
})
