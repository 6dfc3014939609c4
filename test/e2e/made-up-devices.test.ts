import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DEVICES_MEASURED, DEVICES_SHOWN, DEVICES_TOLD } from '../../src/base/budgets.ts'
import { runCommand } from '../support/command.ts'
import { jpeg } from '../support/media.ts'
import { get, post, upload } from '../support/phone.ts'
import { startTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { startReceiver, type TestReceiver } from '../support/receiver.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'
import { send } from '../support/wire.ts'

/*
 * A guest makes up 200 devices, whose names are to be read by whoever is told of them: to end the alarm about a real
 * phone, which 200 later ones would push off a list, and to have his text sent 200 times.
 */

const MADE_UP = 200
const TOKEN = 'a-token-of-twenty-characters'
const PHONE = 'iPhone 15'
const nameOf = (number: number) => `[Solved: ${PHONE}](https://evil.example/${number})\n**All is well**\u202e @all`

let database: TestDatabase
let client: pg.Client
let hook: TestReceiver
let folder: string
let settings: Record<string, string>
let server: TestServer

beforeAll(async () => {
  database = await startTestDatabase()
  client = new pg.Client(database.connection)
  await client.connect()
  folder = await makeFolder()
  hook = await startReceiver()
  settings = { DATABASE_URL: database.url, NOTIFY_URL: `http://127.0.0.1:${hook.port}/`, ACCESS_TOKEN: TOKEN }
  server = await startServer(folder, settings)
})

afterAll(async () => {
  await server.stop()
  await hook.stop()
  await client.end()
  await database.drop()
  await removeFolder(folder)
})

async function backUp(device_id: string, photo: string): Promise<void> {
  const path = `file:///DCIM/${photo}.JPG`
  await post(server.url, '/photos/new', { device_id, files: [{ path, id: photo }] })
  const fields = { device_id, original_path: path, asset_id: photo }
  expect((await upload(server.url, jpeg({ seed: photo }), { fields })).status).toBeLessThan(300)
}

const ageing = `set last_seen = last_seen - interval '9 days'`
const age = async (device: string) => {
  await client.query(`update backups set timestamp = timestamp - interval '9 days' where device_id like $1`, [device])
  await client.query(`update devices ${ageing} where device_id like $1`, [device])
}
const health = async () => (await get(server.url, '/library/health')).body
const keys = async (): Promise<string[]> => (await health()).problems.map(({ key }: { key: string }) => key)
const told = () => hook.received.map(({ body }) => JSON.parse(body))

describe('200 made-up devices', () => {
  it('do not end the alarm about a real phone, whether they are heard of or quiet', async () => {
    await backUp(PHONE, 'real')
    await age(PHONE)
    expect(await keys()).toEqual([`quiet:${PHONE}`])
    await until('people have heard', async () => told().length === 1)
    let next = 0
    const guest = async () => {
      while (next < MADE_UP) await backUp(nameOf(next++), 'made up')
    }
    await Promise.all(Array.from({ length: 8 }, guest))
    expect(await keys()).toEqual([`quiet:${PHONE}`])
    await age('%evil.example%')
    expect(await keys()).toContain(`quiet:${PHONE}`)
    const { problems, devices } = await health()
    expect(problems).toHaveLength(DEVICES_TOLD + 1)
    expect(problems[0]).toMatchObject({ key: `quiet:${PHONE}`, title: `"${PHONE}" has not backed up for 9 days` })
    expect(devices.length).toBeLessThanOrEqual(DEVICES_SHOWN)
    expect(devices).toContainEqual(expect.objectContaining({ device_id: PHONE, quiet: true }))
  })

  it('are told in a few messages, none of which has a link, markup or a line of theirs', async () => {
    await until('people have heard of all', async () => told().length >= DEVICES_TOLD + 1)
    const messages = told()
    expect(messages).toHaveLength(DEVICES_TOLD + 1)
    const { rows } = await client.query('select count(*)::int as count from alerts')
    expect(rows).toEqual([{ count: messages.length }])
    expect(messages.map(({ event }) => event)).toEqual(messages.map(() => 'raised'))
    const rest = messages.find(({ key }) => key === 'quiet')
    expect(rest.title).toBe(`${MADE_UP - DEVICES_TOLD + 1} further devices have not backed up`)
    expect(rest.message).toContain('npm run iclood -- forget --further')
    for (const { title, message } of messages) {
      expect(`${title} ${message}`).not.toMatch(/[[\]*@\n\u202e]|https:|evil\.example/)
      expect(title.length).toBeLessThan(120)
      expect(message.length).toBeLessThan(1000)
    }
  })

  it('are a bounded number of series', async () => {
    const metrics = await (await fetch(`${server.url}/metrics`)).text()
    const series = metrics.split('\n').filter((line) => line.startsWith('iclood_device_last_backup_timestamp_seconds{'))
    expect(series.length).toBeLessThanOrEqual(DEVICES_MEASURED)
    expect(series.join('\n')).toContain(`device="${PHONE}"`)
  })

  it('do not end it by being heard of again either, and a restart tells nobody anything anew', async () => {
    for (let number = 0; number < DEVICES_TOLD + 2; number++) {
      await post(server.url, '/photos/new', { device_id: nameOf(number), files: [{ path: 'new' }] })
    }
    expect(await keys()).toContain(`quiet:${PHONE}`)
    await server.stop()
    const before = told().filter(({ event }) => event === 'raised').length
    server = await startServer(folder, settings)
    expect(await keys()).toContain(`quiet:${PHONE}`)
    expect(told().filter(({ event }) => event === 'raised')).toHaveLength(before)
    expect(told().filter(({ event, key }) => event === 'cleared' && key === `quiet:${PHONE}`)).toEqual([])
  })

  it('are no reason for a guest to end it: accepting and forgetting are for who keeps the server', async () => {
    const asked = [
      ['/devices/forget', { device_id: PHONE }],
      ['/library/findings/accept', { kind: 'missing' }],
    ] as const
    for (const [path, body] of asked) {
      const headers = { 'content-type': 'application/json' }
      const request = { method: 'POST', path, body: JSON.stringify(body) }
      const guest = await send(server, { ...request, headers, from: '127.0.0.9' })
      expect(guest).toMatchObject({ status: 401, body: { code: 'unauthorized' } })
      const authorization = 'Bearer wrong'
      expect(
        (await send(server, { ...request, headers: { ...headers, authorization }, from: '127.0.0.9' })).status,
      ).toBe(401)
      const withToken = { ...headers, authorization: `Bearer ${TOKEN}` }
      const keeper = {
        ...request,
        body: JSON.stringify({ device_id: 'nobody', paths: ['nothing'] }),
        headers: withToken,
      }
      expect((await send(server, { ...keeper, from: '127.0.0.9' })).status).toBe(404)
    }
    expect(await keys()).toContain(`quiet:${PHONE}`)
  })

  it('are forgotten in one go, and the real phone’s alarm ends with its own sign of life', async () => {
    const { code, stdout } = await runCommand(folder, ['forget', '--further'], settings)
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^19\d devices are not waited for/),
    })
    expect(await keys()).not.toContain('quiet')
    await post(server.url, '/photos/new', { device_id: PHONE, files: [{ path: 'file:///DCIM/real.JPG', id: 'real' }] })
    expect(await keys()).not.toContain(`quiet:${PHONE}`)
    await until('people have heard', async () =>
      told().some(({ key, event }) => key === `quiet:${PHONE}` && event === 'cleared'),
    )
  })
})
