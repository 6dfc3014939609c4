import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type Alert,
  keepReceivers,
  listRaised,
  listUntold,
  type Problem,
  reconcileAlerts,
  recordTold,
} from '../../src/catalogue/alerts.ts'
import { type Database, openDatabase } from '../../src/catalogue/connection.ts'
import { migrate } from '../../src/migrations/migrate.ts'
import { startTestDatabase } from '../support/postgres.ts'

let db: Database

beforeAll(async () => {
  const { url } = await startTestDatabase()
  db = openDatabase({ connectionString: url }, () => {})
  await migrate(db)
})

afterAll(() => db.destroy())

beforeEach(async () => {
  await db.deleteFrom('alerts').execute()
})

const since = new Date('2026-03-01T00:00:00Z')
const now = new Date('2026-03-01T01:00:00Z')
const problem = (key: string, title = key): Problem => ({ key, severity: 'error', title, message: 'why', since })
const reconcile = (keys: readonly string[], undecided: readonly string[] = []) =>
  reconcileAlerts(
    db,
    keys.map((key) => problem(key)),
    (key) => undecided.includes(key),
    now,
  )
const raised = async () => (await listRaised(db)).map(({ key }) => key)
const untold = async (receiver: string) => {
  return (await listUntold(db, receiver)).map(
    ({ key, clearedAt }) => `${clearedAt === null ? 'raised' : 'cleared'} ${key}`,
  )
}
const tellAll = async (receiver: string) => {
  for (const alert of await listUntold(db, receiver)) await recordTold(db, receiver, alert, now)
}
const count = async () => (await db.selectFrom('alerts').select('key').execute()).length

describe('alerts', () => {
  it('are raised and cleared as problems come and go, and say what has changed', async () => {
    const keys = ({ raised, cleared }: { raised: readonly Problem[]; cleared: readonly Problem[] }) => {
      return { raised: raised.map(({ key }) => key), cleared: cleared.map(({ key }) => key) }
    }
    expect(keys(await reconcile(['a', 'b']))).toEqual({ raised: ['a', 'b'], cleared: [] })
    expect(keys(await reconcile(['b', 'c']))).toEqual({ raised: ['c'], cleared: ['a'] })
    expect(keys(await reconcile(['b', 'c']))).toEqual({ raised: [], cleared: [] })
    expect(await raised()).toEqual(['b', 'c'])
    expect((await listRaised(db))[0]).toEqual({
      ...problem('b'),
      ...{ raisedAt: now, clearedAt: null, isNote: false, edition: 1 },
    })
  })

  it('stay as they are while their problem can’t be seen', async () => {
    await reconcile(['a', 'b'])
    await reconcile([], ['a'])
    expect(await raised()).toEqual(['a'])
  })

  it('are told to each receiver once, and only to those who have not heard', async () => {
    await reconcile(['a'])
    expect(await untold('one')).toEqual(['raised a'])
    await tellAll('one')
    expect(await untold('one')).toEqual([])
    expect(await untold('other')).toEqual(['raised a'])
    await reconcile([])
    expect(await untold('one')).toEqual(['cleared a'])
    expect(await untold('other')).toEqual([])
    await tellAll('one')
    expect(await untold('one')).toEqual([])
    expect(await count()).toBe(0)
  })

  it('that came and went before anybody was told are forgotten', async () => {
    await reconcile(['a'])
    await reconcile([])
    expect(await count()).toBe(0)
  })

  it('that cleared and came back before that was told are no news', async () => {
    await reconcile(['a'])
    await tellAll('one')
    await reconcile([])
    await reconcile(['a'])
    expect(await untold('one')).toEqual([])
    expect(await untold('other')).toEqual(['raised a'])
  })

  it('that cleared while they were being told are told to be over', async () => {
    await reconcile(['a'])
    const [alert] = await listUntold(db, 'one')
    await reconcile([])
    expect(await count()).toBe(0)
    await recordTold(db, 'one', alert as Alert, now)
    expect(await untold('one')).toEqual(['cleared a'])
    await tellAll('one')
    expect(await count()).toBe(0)
  })

  it('that came back while their end was being told are told again', async () => {
    await reconcile(['a'])
    await tellAll('one')
    await reconcile([])
    const [alert] = await listUntold(db, 'one')
    await reconcile(['a'])
    await recordTold(db, 'one', alert as Alert, now)
    expect(await untold('one')).toEqual(['raised a'])
  })

  it('wait for nobody who is not a receiver any more', async () => {
    await reconcile(['a', 'b'])
    await tellAll('one')
    await tellAll('other')
    await reconcile(['b'])
    await tellAll('one')
    expect(await count()).toBe(2)
    await keepReceivers(db, ['one'])
    expect(await count()).toBe(1)
    expect(await untold('one')).toEqual([])
  })
})

describe('what comes one by one', () => {
  const at = (seconds: number) => new Date(now.getTime() + seconds * 1000)
  const look = (found: number, seconds: number, title = `${found} lost`) =>
    reconcileAlerts(db, [{ ...problem('lost', title), found }], () => false, at(seconds))
  /** Tells `one` what it has not heard; returns the titles. */
  const tell = async () => {
    const alerts = await listUntold(db, 'one')
    for (const alert of alerts) await recordTold(db, 'one', alert, now)
    return alerts.map(({ title }) => title)
  }

  it('is told at once, and again when there is more, with how much of it is new', async () => {
    await look(1, 0)
    expect(await tell()).toEqual(['1 lost'])
    await look(1, 40)
    expect(await tell()).toEqual([])
    await look(11, 80)
    expect(await tell()).toEqual(['11 lost (10 new)'])
    expect(await tell()).toEqual([])
  })

  it('is gathered, the longer the longer it comes, and none of it is left out', async () => {
    const messages: string[] = []
    for (let second = 0; second < 24 * 60 * 60; second += 100) {
      await look(second / 100 + 1, second)
      messages.push(...(await tell()))
    }
    expect(messages.length).toBeGreaterThan(10)
    expect(messages.length).toBeLessThan(20)
    const { nextAt } = await look(1_000, 24 * 60 * 60)
    expect(nextAt).not.toBeNull()
    await look(1_000, 48 * 60 * 60)
    expect(await tell()).toEqual([expect.stringContaining('1000 lost')])
  })

  it('says when it will be told again', async () => {
    await look(1, 0)
    expect((await look(2, 10)).nextAt).toEqual(at(30))
    expect(await look(2, 30)).toMatchObject({ nextAt: null, grown: [{ title: '2 lost (1 new)' }] })
  })

  it('is not muted by what is over: one is healed while another comes', async () => {
    await look(1, 0, '1 lost')
    await tell()
    await look(2, 60, '1 lost')
    expect(await tell()).toEqual(['1 lost (1 new)'])
  })

  it('is counted anew when it has become less', async () => {
    await look(5, 0)
    await tell()
    await look(4, 60)
    expect(await tell()).toEqual([])
    await look(5, 120)
    expect(await tell()).toEqual(['5 lost (1 new)'])
  })

  it('is told to who has not heard yet that it was over before', async () => {
    await look(1, 0)
    await tell()
    await reconcile([])
    await look(2, 60)
    expect(await tell()).toEqual(['2 lost'])
  })

  it('that becomes an error is told at once', async () => {
    const full = { ...problem('full'), severity: 'warning' } as const
    await reconcileAlerts(db, [full], () => false, now)
    await tell()
    await reconcileAlerts(db, [{ ...full, severity: 'error', title: 'worse' }], () => false, at(1))
    expect(await tell()).toEqual(['worse'])
    await reconcileAlerts(db, [full], () => false, at(2))
    expect(await tell()).toEqual([])
  })

  it('as a note is told, and its end is not', async () => {
    const note = { ...problem('healed'), found: 1, isNote: true }
    await reconcileAlerts(db, [note], () => false, now)
    const [alert] = await listUntold(db, 'one')
    expect(await tell()).toEqual(['healed'])
    await reconcileAlerts(db, [], () => false, at(60))
    expect(await listUntold(db, 'one')).toEqual([])
    expect(await count()).toBe(0)
    await recordTold(db, 'one', alert as Alert, now)
    expect(await count()).toBe(0)
  })
})
