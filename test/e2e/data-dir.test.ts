import { spawnSync } from 'node:child_process'
import { rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCommand } from '../support/command.ts'
import { drive, makeDrive, type TestDrive } from '../support/drives.ts'
import { jpeg } from '../support/media.ts'
import { needs } from '../support/needs.ts'
import { get, post, upload } from '../support/phone.ts'
import { startReceiver, type TestReceiver } from '../support/receiver.ts'
import { makeFolder, startServer, type TestServer } from '../support/server.ts'
import { EMBEDDED } from '../support/surroundings.ts'
import { until } from '../support/wire.ts'

const MB = 1024 * 1024

describe('a DATA_DIR on a small disk of its own', needs(drive('tmpfs')), () => {
  let disk: TestDrive
  let folder: string
  let receiver: TestReceiver
  let server: TestServer
  let env: Record<string, string>

  beforeAll(async () => {
    disk = await makeDrive('tmpfs', 512 * MB)
    folder = await makeFolder()
    receiver = await startReceiver()
    env = { ...EMBEDDED, DATA_DIR: disk.path, NOTIFY_URL: `http://127.0.0.1:${receiver.port}/hook` }
    server = await startServer(folder, { ...env, UPLOAD_FOLDER: join(folder, 'photos') })
  })
  afterAll(async () => {
    await server?.stop()
    await receiver?.stop()
  })

  const filler = () => join(disk.path, 'somebody-elses')
  /** Another program fills the disk up to that many bytes. */
  async function leave(bytes: number): Promise<void> {
    await rm(filler(), { force: true })
    const { bavail, bsize } = await statfs(disk.path)
    await writeFile(filler(), '')
    spawnSync('fallocate', ['-l', String(bavail * bsize - bytes), filler()])
  }
  let photos = 0
  const send = () => upload(server.url, jpeg({ seed: `photo ${photos++}` }), { name: `${photos}.jpg` })
  const problem = async () => {
    const { body } = await get(server.url, '/library/health')
    return body.problems?.find(({ key }: { key: string }) => key === 'data_dir_full')
  }
  const told = (event: string) =>
    receiver.received
      .map(({ body }) => JSON.parse(body))
      .some(({ key, event: found }) => key === 'data_dir_full' && found === event)

  it('is in health and metrics', async () => {
    expect((await send()).status).toBe(201)
    const { body } = await get(server.url, '/library/health')
    expect(body.data_dir).toMatchObject({ total_bytes: 512 * MB, free_bytes: expect.any(Number) })
    expect(await problem()).toBeUndefined()
    const metrics = await (await fetch(`${server.url}/metrics`)).text()
    expect(metrics).toContain(`iclood_data_dir_size_bytes ${512 * MB}`)
    expect(metrics).toMatch(/^iclood_data_dir_free_bytes \d/m)
  })

  it('is told of before it is full, while photos are still taken', async () => {
    await leave(100 * MB)
    await until('somebody is told', async () => {
      await problem()
      return told('raised')
    })
    expect(await problem()).toMatchObject({ severity: 'warning', title: expect.stringContaining('% full') })
    expect((await send()).status).toBe(201)
  })

  it('that is full refuses photos and lists by name, in time, and says so everywhere', async () => {
    await leave(32 * MB)
    const answer = await until('it refuses', async () => {
      const found = await send()
      return found.status === 503 ? found : undefined
    })
    expect(answer.body).toMatchObject({ code: 'data_dir_full', message: expect.stringContaining('DATA_DIR') })
    expect(answer.body.message).not.toContain(disk.path)
    const list = await post(server.url, '/photos/new', { device_id: 'phone', files: [{ path: 'a', size: 1 }] })
    expect(list).toMatchObject({ status: 503, body: { code: 'data_dir_full' } })
    expect(await problem()).toMatchObject({ severity: 'error', title: 'The disk of the database is full' })
    const { stdout, code } = await runCommand(folder, ['status'], { ...env, UPLOAD_FOLDER: join(folder, 'photos') })
    expect({ code, stdout }).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('The disk of the database is full'),
    })
  })

  it('that has not one byte left is answered for alike, and not with a 500', async () => {
    await leave(0)
    for (let round = 0; round < 5; round++) {
      expect(await send()).toMatchObject({ status: 503, body: { message: expect.stringContaining('DATA_DIR') } })
    }
    const health = await get(server.url, '/library/health')
    expect(JSON.stringify(health.body)).toContain('DATA_DIR')
  })

  it('with room again goes on by itself, and the alarm ends', async () => {
    await rm(filler())
    await until('it takes photos', async () => (await send()).status === 201)
    await until('the alarm ends', async () => (await problem()) === undefined && told('cleared'))
  })
})
