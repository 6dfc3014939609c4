import { rename } from 'node:fs/promises'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jpeg } from '../support/media.ts'
import { get, upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { startReceiver, type TestReceiver } from '../support/receiver.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

let database: TestDatabase
let client: pg.Client
let folder: string
let server: TestServer
let hook: TestReceiver
let ntfy: TestReceiver

const start = async () => {
  const urls = [
    `http://anna:s3cr%40t@127.0.0.1:${hook.port}/hook?token=t0ken`,
    `ntfy://bob:pa55@127.0.0.1:${ntfy.port}/secret-topic`,
  ]
  server = await startServer(folder, { DATABASE_URL: database.url, NOTIFY_URL: urls.join(', ') })
}

beforeAll(async () => {
  database = await startTestDatabase()
  client = new pg.Client(database.connection)
  await client.connect()
  folder = await makeFolder()
  hook = await startReceiver()
  ntfy = await startReceiver()
  await start()
})

afterAll(async () => {
  await server.stop()
  await hook.stop()
  await ntfy.stop()
  await client.end()
  await database.drop()
  await removeFolder(folder)
})

/** What the webhook was told, in order. */
const told = () => hook.received.map(({ body }) => JSON.parse(body))
const toldBriefly = () => told().map(({ event, key }) => `${event} ${key}`)
const titles = () => ntfy.received.map(({ headers }) => String(headers['title']))

const goAway = async () => {
  await rename(server.library, `${server.library}.away`)
  // Whoever asks notices it; nobody has to wait until the server looks by itself.
  await get(server.url, '/storage/status')
}
const comeBack = () => rename(`${server.library}.away`, server.library)
/** A device backs something up, and then nothing for some days. */
const beQuiet = async (device: string, days: number) => {
  await upload(server.url, jpeg({ seed: device }), { fields: { device_id: device } })
  await client.query('insert into devices (device_id, has_announced) values ($1, true) on conflict do nothing', [
    device,
  ])
  await client.query(`update backups set timestamp = timestamp - $2 * interval '1 day' where device_id = $1`, [
    device,
    days,
  ])
  await get(server.url, '/library/health')
}
const restart = async () => {
  await server.stop()
  await start()
}

describe('a problem', () => {
  it('is told to every receiver once when it begins and once when it is over; before there is one, nothing is', async () => {
    await goAway()
    await until('both have heard of it', async () => hook.received.length > 0 && ntfy.received.length > 0)
    await comeBack()
    await until('both have heard that it is over', async () => hook.received.length > 1 && ntfy.received.length > 1)
    expect(toldBriefly()).toEqual(['raised drive_missing', 'cleared drive_missing'])
    expect(titles()).toEqual(['iClood: The drive is missing', 'iClood: Solved: The drive is missing'])
  })

  it('reaches a webhook as JSON', () => {
    const [first, second] = hook.received
    expect(first).toMatchObject({ method: 'POST', path: '/hook?token=t0ken' })
    expect(first?.headers).toMatchObject({
      'content-type': 'application/json',
      authorization: `Basic ${Buffer.from('anna:s3cr@t').toString('base64')}`,
    })
    const [raised, cleared] = told()
    const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    expect(raised).toEqual({
      app: 'iclood',
      event: 'raised',
      key: 'drive_missing',
      severity: 'error',
      title: 'The drive is missing',
      message: expect.stringContaining('Connect and mount it'),
      since: time,
      at: time,
    })
    expect(cleared).toMatchObject({ event: 'cleared', key: 'drive_missing', since: raised.since })
    expect(cleared.at > raised.at).toBe(true)
    expect(second?.path).toBe('/hook?token=t0ken')
  })

  it('reaches ntfy as it wants it: the message as the body, all else in headers', () => {
    const [raised, cleared] = ntfy.received
    expect(raised).toMatchObject({ method: 'POST', path: '/secret-topic', body: told()[0].message })
    expect(raised?.headers).toMatchObject({
      title: 'iClood: The drive is missing',
      priority: 'high',
      tags: 'warning',
      authorization: `Basic ${Buffer.from('bob:pa55').toString('base64')}`,
    })
    expect(cleared?.headers).toMatchObject({ priority: 'default', tags: 'white_check_mark' })
  })

  it('is not told again after a restart, and its end is', async () => {
    const before = hook.received.length
    await beQuiet('Müllers iPhone', 8)
    await until('both have heard of the quiet phone', async () => {
      return hook.received.length > before && ntfy.received.length > before
    })
    await restart()
    await upload(server.url, jpeg({ seed: 2 }), { fields: { device_id: 'Müllers iPhone' } })
    await restart()
    await until('both have heard of its return', async () => {
      return hook.received.length > before + 1 && ntfy.received.length > before + 1
    })
    expect(toldBriefly().slice(before)).toEqual(['raised quiet:Müllers iPhone', 'cleared quiet:Müllers iPhone'])
  })

  it('has a title in ASCII for ntfy, which shows it as it is', () => {
    const raised = ntfy.received.find(({ headers }) => String(headers['title']).startsWith('=?'))
    const words = String(raised?.headers['title']).split(' ')
    const text = words.map((word) => Buffer.from(/^=\?UTF-8\?B\?(.*)\?=$/.exec(word)?.[1] ?? '', 'base64')).join('')
    expect(text).toBe('iClood: "Müllers iPhone" has not backed up for 8 days')
    expect(words.every((word) => word.length <= 75)).toBe(true)
  })
})

describe('a receiver that is away', () => {
  it('is told when it is back, also after a restart, and keeps the other one from nothing', async () => {
    await ntfy.stop()
    const before = { hook: hook.received.length, ntfy: ntfy.received.length }
    await beQuiet('iPad', 30)
    await until('the other has heard', async () => hook.received.length > before.hook)
    await until('it was tried in vain', async () => server.output().includes('could not be delivered'))
    await restart()
    await ntfy.start()
    await until('it has heard', async () => ntfy.received.length > before.ntfy)
    expect(titles().slice(before.ntfy)).toEqual(['iClood: "iPad" has not backed up for 30 days'])
    expect(toldBriefly().slice(before.hook)).toEqual(['raised quiet:iPad'])
  })

  it('is not told of what was over before it came back', async () => {
    ntfy.answer(500)
    const before = { hook: hook.received.length, ntfy: ntfy.received.length }
    await goAway()
    await until('the other has heard', async () => hook.received.length === before.hook + 1)
    await until('it has refused', async () => ntfy.refused() > 0)
    await comeBack()
    await until('the other has heard that it is over', async () => hook.received.length === before.hook + 2)
    ntfy.answer(200)
    await beQuiet('iPhone SE', 9)
    await until('it has heard of the next', async () => ntfy.received.length > before.ntfy)
    expect(titles().slice(before.ntfy)).toEqual(['iClood: "iPhone SE" has not backed up for 9 days'])
  })

  it('is not followed elsewhere, with what is secret', async () => {
    const before = { hook: hook.received.length, refused: ntfy.refused() }
    ntfy.answer(307, { location: `http://127.0.0.1:${hook.port}/elsewhere` })
    await goAway()
    await until('it has answered with a redirect', async () => ntfy.refused() > before.refused)
    await until('the other has heard', async () => hook.received.length > before.hook)
    await comeBack()
    await until('it is over', async () => hook.received.length > before.hook + 1)
    expect(hook.received.some(({ path }) => path === '/elsewhere')).toBe(false)
    expect(server.output()).toContain('put its new address into NOTIFY_URL')
    ntfy.answer(200)
  })
})

describe('the log', () => {
  it('names problems, and receivers by their hosts alone', async () => {
    const output = server.output()
    expect(output).toContain(`"receiver":"127.0.0.1:${ntfy.port}"`)
    expect(output).toMatch(/"problem":"quiet:iPad","msg":"\\"iPad\\" has not backed up for 30 days\./)
    for (const secret of ['s3cr', 't0ken', 'pa55', 'secret-topic']) expect(output).not.toContain(secret)
  })

  it('says once that a problem has begun', () => {
    expect(server.output().split('"problem":"quiet:iPad"').length).toBe(2)
  })
})
