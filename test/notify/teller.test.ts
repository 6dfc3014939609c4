import { Writable } from 'node:stream'
import { pino } from 'pino'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Alert, reconcileAlerts } from '../../src/catalogue/alerts.ts'
import { type Database, openDatabase } from '../../src/catalogue/connection.ts'
import { migrate } from '../../src/migrations/migrate.ts'
import { receiverAt } from '../../src/notify/receiver.ts'
import { Teller } from '../../src/notify/teller.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { startReceiver, type TestReceiver } from '../support/receiver.ts'
import { until } from '../support/until.ts'

let database: TestDatabase
let db: Database
let receiver: TestReceiver
let teller: Teller
const ending = new AbortController()
let running: Promise<void>

beforeAll(async () => {
  database = await startTestDatabase()
  db = openDatabase({ connectionString: database.url }, () => {})
  await migrate(db)
  receiver = await startReceiver()
  const log = pino({ level: 'silent' }, new Writable({ write: (_chunk, _encoding, done) => done() }))
  teller = new Teller(db, [receiverAt(`http://127.0.0.1:${receiver.port}/`)], log, () => new Date())
  running = teller.run(ending.signal)
})

afterAll(async () => {
  ending.abort()
  await running
  await receiver.stop()
  await db.destroy()
})

const told = () =>
  receiver.received.map(({ body }) => {
    const { event, key } = JSON.parse(body)
    return `${event} ${key}`
  })
const since = new Date()
const once = { isNote: false, edition: 1 }
const problem = { severity: 'error', title: 'What', message: 'why', since } as const

it('tells of alerts that it is poked for, and of an outage of the database from memory, each change once', async () => {
  await reconcileAlerts(db, [{ ...problem, key: 'a' }], () => false, since)
  teller.poke()
  await until('it was told', async () => told().length === 1)

  const outage: Alert = { ...problem, key: 'database_unavailable', raisedAt: since, clearedAt: null, ...once }
  teller.setOutage(outage)
  await until('the outage was told', async () => told().length === 2)
  // Noticed again every minute, as another object.
  teller.setOutage({ ...outage })
  teller.setOutage(undefined)
  await until('its end was told', async () => told().length === 3)

  await reconcileAlerts(db, [], () => false, new Date())
  teller.poke()
  await until('the end of the first was told', async () => told().length === 4)
  expect(told()).toEqual(['raised a', 'raised database_unavailable', 'cleared database_unavailable', 'cleared a'])
})

it('tells of an outage also while there is no database at all', async () => {
  const before = told().length
  await database.drop()
  const outage: Alert = { ...problem, key: 'database_unavailable', raisedAt: since, clearedAt: null, ...once }
  teller.setOutage(outage)
  await until('the outage was told', async () => told().length === before + 1)
  teller.poke()
  teller.setOutage(undefined)
  await until('its end was told', async () => told().length === before + 2)
  expect(told().slice(before)).toEqual(['raised database_unavailable', 'cleared database_unavailable'])
})
