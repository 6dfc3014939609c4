import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { heic, jpeg, mov } from '../support/media.ts'
import { get, post, upload } from '../support/phone.ts'
import { makeFolder, removeFolder, startServer, type TestServer } from '../support/server.ts'

/** How many assets the app lists at a time. */
const PAGE = 20
const DEVICE = 'iPhone 16 Pro'

let server: TestServer

beforeAll(async () => {
  server = await startServer(await makeFolder())
})

afterAll(async () => {
  await server.stop()
  await removeFolder(server.folder)
})

interface Asset {
  id: string
  path: string
  name: string
  size: number
  type: 'photo' | 'video'
  created: number
  modified: number
  bytes: Buffer
}

/** A camera roll: stills and films, as iOS since 18 names them. */
function cameraRoll(count: number): Asset[] {
  return Array.from({ length: count }, (_, index) => {
    const isVideo = index % 5 === 4
    const name = `IMG_${String(index).padStart(4, '0')}.${isVideo ? 'MOV' : index % 5 === 3 ? 'JPG' : 'HEIC'}`
    const day = String((index % 28) + 1).padStart(2, '0')
    const month = String((Math.floor(index / 28) % 12) + 1).padStart(2, '0')
    const options = {
      date: `2024:${month}:${day} 12:00:00`,
      offset: '+02:00',
      seed: `roll ${index}`,
      size: 4000 + index,
    }
    return {
      id: `${index}F1B4-5C6D/L0/001`,
      path: `file:///var/mobile/Media/DCIM/100APPLE/${name}#YnBsaXN0MDDRAQJfEBtSZWNvbW1lbmRlZEZvckltbWVyc2l2ZU1vZGU`,
      name,
      size: 0,
      type: isVideo ? 'video' : 'photo',
      created: Date.parse(`2024-${month}-${day}T12:00:00+02:00`) + 0.25,
      modified: Date.parse(`2024-${month}-${day}T12:00:03+02:00`),
      bytes: isVideo
        ? mov({ creationDate: `2024-${month}-${day}T12:00:00+0200`, seed: `roll ${index}`, size: 4000 + index })
        : name.endsWith('JPG')
          ? jpeg(options)
          : heic(options),
    }
  })
}

const listed = ({ bytes: _, ...asset }: Asset) => asset

/** The app's backup: a page of the roll after the other, each asked about, and what is wanted sent one by one. */
async function backUp(roll: readonly Asset[]): Promise<{ sent: string[]; backedUp: number; ignored: number }> {
  const outcome = { sent: [] as string[], backedUp: 0, ignored: 0 }
  for (let start = 0; start < roll.length; start += PAGE) {
    const page = roll.slice(start, start + PAGE)
    const answer = await post(server.url, '/photos/new', { device_id: DEVICE, files: page.map(listed) })
    expect(answer.status).toBe(200)
    expect(answer.body.count).toBe(answer.body.new_files.length)
    outcome.backedUp += answer.body.backed_up_count
    outcome.ignored += answer.body.ignored_files.length
    for (const wanted of answer.body.new_files) {
      const asset = page.find(({ id }) => id === wanted.id)
      expect(wanted).toEqual(asset && listed(asset))
      const uploaded = await upload(server.url, asset?.bytes ?? Buffer.alloc(0), {
        name: wanted.name,
        type: wanted.type === 'video' ? 'video/mp4' : 'image/jpeg',
        fields: { original_path: wanted.path, file_type: wanted.type, device_id: DEVICE },
      })
      expect([200, 201]).toContain(uploaded.status)
      expect(uploaded.body.backup).toMatchObject({ status: 'Completed', device_id: DEVICE, file_type: wanted.type })
      outcome.sent.push(wanted.id)
    }
  }
  return outcome
}

const roll = cameraRoll(70)

it('the first session sends every photo and video, byte for byte into its month', async () => {
  expect(await backUp(roll)).toEqual({ sent: roll.map(({ id }) => id), backedUp: 0, ignored: 0 })
  const { body } = await get(server.url, `/backup/log?limit=1000&device_id=${encodeURIComponent(DEVICE)}`)
  expect(body).toMatchObject({ count: 70, total: 70 })
  for (const asset of roll) {
    const row = body.backups.find((backup: { original_path: string }) => backup.original_path === asset.path)
    const month = new Date(asset.created).toISOString().slice(0, 7).replace('-', '/')
    expect(row).toMatchObject({ file_path: `${month}/${asset.name}`, status: 'Completed' })
    expect((await readFile(join(server.library, row.file_path))).equals(asset.bytes)).toBe(true)
  }
  expect((await get(server.url, '/storage/status')).body.backups).toMatchObject({
    photo_count: 56,
    video_count: 14,
    total_count: 70,
    total_size_bytes: roll.reduce((sum, { bytes }) => sum + bytes.length, 0),
  })
})

it('the next session sends nothing', async () => {
  expect(await backUp(roll)).toEqual({ sent: [], backedUp: 70, ignored: 0 })
})

it('after an update of iOS, with other fragments or none, nothing is sent again', async () => {
  const updated = roll.map((asset, index) => {
    const [path = ''] = asset.path.split('#', 1)
    return { ...asset, path: index % 2 === 0 ? path : `${path}#${index}` }
  })
  expect(await backUp(updated)).toEqual({ sent: [], backedUp: 70, ignored: 0 })
})

it('new photos, and those only, are sent', async () => {
  const more = cameraRoll(75)
  expect((await backUp(more)).sent).toEqual(more.slice(70).map(({ id }) => id))
})

it('a photo that the phone sends once more counts as backed up, and nothing is doubled', async () => {
  const [asset] = roll
  const fields = { original_path: asset?.path ?? '', file_type: 'photo', device_id: DEVICE }
  const answer = await upload(server.url, asset?.bytes ?? Buffer.alloc(0), { name: asset?.name ?? '', fields })
  expect(answer.status).toBe(200)
  expect(answer.body.message).toBe('File already backed up')
  expect((await get(server.url, '/backup/log')).body.total).toBe(75)
})

it('what a person ignores is not sent until they change their mind', async () => {
  const more = cameraRoll(80)
  const unwanted = more.slice(75, 77).map(listed)
  const marked = await post(server.url, '/photos/ignore', { device_id: DEVICE, files: unwanted })
  expect(marked.body).toEqual({ status: 'success', message: '2 files marked as ignored', ignored_count: 2 })
  const first = await backUp(more)
  expect(first).toEqual({ sent: more.slice(77).map(({ id }) => id), backedUp: 75, ignored: 2 })
  // The app shows them with other fragments by now.
  const [kept, back] = unwanted.map((file) => ({ ...file, path: `${file.path.split('#', 1)[0]}#new` }))
  expect((await post(server.url, '/photos/unignore', { device_id: DEVICE, files: [back] })).body.unignored_count).toBe(
    1,
  )
  expect((await backUp(more)).sent).toEqual([back?.id])
  expect((await get(server.url, `/photos/ignored?device_id=${encodeURIComponent(DEVICE)}`)).body.ignored_files).toEqual(
    [expect.objectContaining({ asset_id: kept?.id, file_name: kept?.name })],
  )
})

it('a session that was cut off goes on where it was, also after the server was killed', async () => {
  const more = cameraRoll(100)
  await backUp(more.slice(0, 90))
  await post(server.url, '/photos/new', { device_id: DEVICE, files: more.slice(80, 100).map(listed) })
  await server.kill()
  server = await startServer(server.folder)
  const rest = await backUp(more)
  expect(rest.sent).toEqual(more.slice(90).map(({ id }) => id))
  expect(rest).toMatchObject({ backedUp: 89, ignored: 1 })
})
