import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { originalsIn, stagedIn } from '../support/drives.ts'
import { postmasterOf } from '../support/embedded.ts'
import { jpeg, mov } from '../support/media.ts'
import { type Answer, post, upload } from '../support/phone.ts'
import { randomFor, rounds } from '../support/rounds.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'
import { EMBEDDED } from '../support/surroundings.ts'
import { until } from '../support/until.ts'

const random = randomFor('crashes')

/** A file on a phone, as it announces and sends it. */
interface Asset {
  device: string
  id: string
  path: string
  name: string
  created: number
  bytes: Buffer
}

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/**
 * What a few phones have taken: sizes from small to large, Live Photos, one name again and again, pictures on several
 * phones.
 */
function takePhotos(round: number, phones: number): Asset[][] {
  const shared = jpeg({ date: '2024:03:05 10:00:00', size: 30_000, seed: `shared ${round}` })
  return Array.from({ length: phones }, (_, phone) => {
    const asset = (name: string, bytes: Buffer): Asset => ({
      device: `iPhone ${phone}`,
      id: `${round}-${phone}-${name}`,
      path: `file:///var/mobile/Media/DCIM/${100 + round}APPLE/${name}`,
      name,
      created: Date.UTC(2024, 2, 5, 9),
      bytes,
    })
    return Array.from({ length: 8 }, (_, number) => {
      const size = [20_000, 150_000, 1_500_000, 4_000_000][Math.floor(random() * 4)] ?? 0
      const about = `${round} ${phone} ${number}`
      const still = jpeg({ date: `2024:0${1 + (number % 3)}:05 10:00:00`, size, seed: about })
      const film = mov({ creationDate: '2024-03-05T10:00:01+0100', size: 200_000, seed: about })
      return [asset(`IMG_000${number}.JPG`, still), asset(`IMG_000${number}.MOV`, film)]
    })
      .flat()
      .concat(asset('SHARED.JPG', shared))
  })
}

async function announce(server: TestServer, assets: readonly Asset[]): Promise<Set<string>> {
  const files = assets.map(({ path, id, name, created }) => ({ path, id, name, created, size: 0 }))
  const answer = await post(server.url, '/photos/new', { device_id: assets[0]?.device, files })
  expect(answer.status).toBe(200)
  return new Set(answer.body.new_files.map((file: { path: string }) => file.path))
}

function send(server: TestServer, asset: Asset): Promise<Answer> {
  const fields = { device_id: asset.device, original_path: asset.path, asset_id: asset.id }
  return upload(server.url, asset.bytes, { name: asset.name, fields })
}

/** Sends everything from all phones at once until `isOver`; adds what was acknowledged to `acknowledged`. */
async function sendAll(
  server: TestServer,
  phones: readonly Asset[][],
  acknowledged: Set<Asset>,
  isOver: () => boolean,
): Promise<void> {
  await Promise.all(
    phones.map(async (assets) => {
      const left = [...assets].sort(() => random() - 0.5)
      const sender = async () => {
        for (let asset = left.pop(); asset !== undefined && !isOver(); asset = left.pop()) {
          const answer = await send(server, asset).catch(() => undefined)
          if (answer?.status === 200 || answer?.status === 201) acknowledged.add(asset)
          else if (answer !== undefined) expect([503]).toContain(answer.status)
        }
      }
      await Promise.all([sender(), sender()])
    }),
  )
}

/** The promise of section "Invariants" in docs/design.md, looked at from outside. */
async function expectNothingLost(server: TestServer, everything: readonly Asset[], acknowledged: ReadonlySet<Asset>) {
  await until('staging is empty', async () => (await stagedIn(server.library)).length === 0)

  const sent = new Set(everything.map((asset) => sha256(asset.bytes)))
  const stored = new Map<string, string>()
  for (const path of await originalsIn(server.library)) {
    expect(path).toMatch(/^2024\/0[1-3]\/[A-Z]+_?\d*( \(\d+\))?\.(JPG|MOV)$/)
    const checksum = sha256(await readFile(join(server.library, path)))
    expect(sent, `${path} is whole`).toContain(checksum)
    expect(stored.get(checksum), `${path} is stored once`).toBeUndefined()
    stored.set(checksum, path)
  }
  for (const asset of acknowledged) {
    expect(stored.has(sha256(asset.bytes)), `${asset.path} of ${asset.device} is on the drive`).toBe(true)
  }
  for (const device of new Set(everything.map((asset) => asset.device))) {
    const mine = everything.filter((asset) => asset.device === device)
    const wanted = await announce(server, mine)
    const forgotten = mine.filter((asset) => acknowledged.has(asset) && wanted.has(asset.path))
    expect(forgotten.map((asset) => asset.path)).toEqual([])
  }
}

it('kill -9 of the server or its database under load, again and again, loses and damages nothing', async () => {
  const folder = await makeFolder()
  const everything: Asset[] = []
  const acknowledged = new Set<Asset>()
  let server = await startServer(folder, EMBEDDED)
  try {
    for (let round = 0; round < rounds(4); round++) {
      const phones = takePhotos(round, 3)
      everything.push(...phones.flat())
      await Promise.all(phones.map((assets) => announce(server, assets)))

      const victim = round % 3 === 2 ? 'database' : 'server'
      let isOver = false
      const sending = sendAll(server, phones, acknowledged, () => isOver)
      await setTimeout(random() * 900)
      if (victim === 'server') {
        await server.kill()
        isOver = true
        await sending
        server = await startServer(folder, EMBEDDED)
      } else {
        process.kill(await postmasterOf(join(folder, 'data/postgres')), 'SIGKILL')
        await sending
        await until('the database is back', async () => {
          const answer = await post(server.url, '/photos/new', { files: [{ path: 'x' }] })
          return answer.status === 200
        })
      }
      await expectNothingLost(server, everything, acknowledged)
    }

    // Whatever happened to the first ones: sent again, each is there once.
    for (let tries = 0; acknowledged.size < everything.length && tries < 3; tries++) {
      const left = everything.filter((asset) => !acknowledged.has(asset))
      await sendAll(server, [left], acknowledged, () => false)
    }
    await Promise.all(everything.map(async (asset) => expect(await send(server, asset)).toMatchObject({ status: 200 })))
    expect(acknowledged.size).toBe(everything.length)
    await expectNothingLost(server, everything, acknowledged)
    expect(await originalsIn(server.library)).toHaveLength(new Set(everything.map(({ bytes }) => sha256(bytes))).size)
  } finally {
    await server.stop()
    await removeFolder(folder)
  }
})
