import { createHash } from 'node:crypto'
import { heic, jpeg, mov } from './media.ts'
import { type Answer, get, post } from './phone.ts'
import { makePhone, type WireAnswer } from './wire.ts'

/** A file on a phone, as the phone lists and sends it. */
export interface Asset {
  device: string
  /** The address that the phone has. */
  from: string
  path: string
  name: string
  /** Null where the app sends none. */
  id: string | null
  created: number
  bytes: Buffer
}

type Server = { url: string; port: number }

const DCIM = 'file:///var/mobile/Media/DCIM/100APPLE'
const SHOT = Date.UTC(2024, 6, 1, 10)

/** What three phones hold, two of them of one model with the same names, and a tablet whose app sends no ids. */
function takePhotos(): Asset[] {
  const asset = (device: string, from: string, name: string, id: string | null, bytes: Buffer): Asset => {
    return { device, from, name, id, bytes, path: `${DCIM}/${name}`, created: SHOT }
  }
  const picture = (seed: string, month: number) =>
    jpeg({ date: `2024:0${month}:01 12:00:00`, seed: `household ${seed}`, size: 9_000 + seed.length * 97 })
  const film = (seed: string) =>
    mov({ creationDate: '2024-07-01T12:00:00+0200', seed: `household ${seed}`, size: 20_000 })
  const shared = picture('sent round', 5)
  const phone = (device: string, from: string, owner: string) => [
    ...[1, 2, 3].map((n) =>
      asset(device, from, `IMG_000${n}.JPG`, `${owner}-${n}/L0/001`, picture(`${owner} ${n}`, n)),
    ),
    // A Live Photo.
    asset(device, from, 'IMG_0004.HEIC', `${owner}-4/L0/001`, heic({ date: '2024:07:01 12:00:00', seed: owner })),
    asset(device, from, 'IMG_0004.MOV', `${owner}-4/L0/001`, film(owner)),
    asset(device, from, 'SHARED.JPG', `${owner}-5/L0/001`, shared),
    asset(device, from, `照片 ${owner}.JPG`, `${owner}-6/L0/001`, picture(`${owner} names`, 7)),
  ]
  return [
    ...phone('iPhone 15', '127.0.0.11', 'Ada'),
    ...phone('iPhone 15', '127.0.0.12', 'Ben'),
    ...phone('iPhone SE', '127.0.0.13', 'Cem'),
    ...[1, 2].map((n) => asset('unknown', '127.0.0.14', `TAB_${n}.JPG`, null, picture(`tablet ${n}`, 7))),
  ]
}

/** A household that has backed up, ignored, failed, changed and announced what households do. */
export interface Household {
  /** Everything that was sent and is kept. */
  readonly assets: readonly Asset[]
  readonly devices: readonly string[]
}

export async function backUpHousehold(server: Server): Promise<Household> {
  const assets = takePhotos()
  for (const from of new Set(assets.map((one) => one.from))) {
    await announce(
      server,
      assets.filter((one) => one.from === from),
    )
  }
  for (const one of assets) await expectStatus(sendAsset(server, one), 201, 200)

  // One is changed on the phone: kept beside what it was.
  const [first] = assets
  if (first === undefined) throw new Error('no assets')
  const changed = { ...first, bytes: jpeg({ date: '2024:01:01 12:00:00', seed: 'household, cropped', size: 9_500 }) }
  await announce(server, [changed])
  await expectStatus(sendAsset(server, changed), 201)

  // Known by its checksum alone: never sent.
  const copy: Asset = {
    ...first,
    device: 'iPhone SE',
    from: '127.0.0.13',
    path: `${DCIM}/SAVED.JPG`,
    name: 'SAVED.JPG',
    id: 'Cem-9/L0/001',
  }
  const sha256 = createHash('sha256').update(copy.bytes).digest('hex')
  const offered = await post(server.url, '/photos/new', {
    device_id: copy.device,
    files: [{ path: copy.path, id: copy.id, name: copy.name, created: copy.created, sha256 }],
  })
  if (offered.body.backed_up_count !== 1) throw new Error('the checksum was not recognised')

  // Some fail on their way, one of them comes through in the end.
  const broken = ['BROKEN_1.JPG', 'BROKEN_2.JPG'].map((name, n): Asset => {
    const bytes = jpeg({ date: '2024:07:02 12:00:00', seed: `household ${name}`, size: 8_000 })
    return { ...first, name, path: `${DCIM}/${name}`, id: `Ada-b${n}/L0/001`, bytes }
  })
  await announce(server, broken)
  for (const one of broken) await expectStatus(sendAsset(server, one, { sha256: '0'.repeat(64) }), 422)
  const [mended] = broken
  if (mended !== undefined) await expectStatus(sendAsset(server, mended), 201)

  for (const [device, names] of [
    ['iPhone 15', ['SCREEN_1.PNG', 'SCREEN_2.PNG', 'SCREEN_3.PNG']],
    ['iPhone SE', ['SCREEN_1.PNG']],
  ] as const) {
    const files = names.map((name) => ({ path: `${DCIM}/${name}`, name }))
    await post(server.url, '/photos/ignore', { device_id: device, files })
    if (files.length > 1) await post(server.url, '/photos/unignore', { device_id: device, files: files.slice(1, 2) })
  }
  return {
    assets: [...assets, changed, ...(mended === undefined ? [] : [mended])],
    devices: ['iPhone 15', 'iPhone SE', 'unknown'],
  }
}

async function announce(server: Server, assets: readonly Asset[]): Promise<void> {
  const [first] = assets
  if (first === undefined) return
  const files = assets.map(({ path, id, name, created, bytes }) => ({
    path,
    ...(id !== null && { id }),
    name,
    created,
    size: bytes.length,
  }))
  await makePhone(server, first.device, first.from).offer(...files)
}

/** Sends a file as its phone does. */
export function sendAsset(server: Server, asset: Asset, fields: Record<string, string> = {}): Promise<WireAnswer> {
  const { device, from, name, path, id, bytes } = asset
  const all = { original_path: path, ...(id !== null && { asset_id: id }), ...fields }
  return makePhone(server, device, from).upload(bytes, { name, fields: all })
}

async function expectStatus(answer: Promise<WireAnswer>, ...expected: number[]): Promise<void> {
  const { status, text } = await answer
  if (!expected.includes(status)) throw new Error(`answered ${status}: ${text}`)
}

/** Everything that the household's phones, and people, can ask: what has to be the same after the database was lost. */
export async function answersOf(server: Server, { assets, devices }: Household): Promise<Record<string, unknown>> {
  const answers: Record<string, unknown> = {}
  const ask = async (path: string, part: (body: Answer['body']) => unknown = (body) => body) => {
    answers[path] = part((await get(server.url, path)).body)
  }
  await ask('/backup/log?limit=1000')
  await ask('/backup/log?limit=5&offset=3')
  for (const status of ['Completed', 'Failed']) await ask(`/backup/log?limit=1000&status=${status}`)
  for (const device of devices) await ask(`/backup/log?limit=1000&device_id=${encodeURIComponent(device)}`)
  const { body } = await get(server.url, '/backup/log?limit=1&offset=7')
  const middle = encodeURIComponent(body.backups[0]?.timestamp ?? '2024-01-01T00:00:00Z')
  for (const side of ['before', 'after']) await ask(`/backup/log?limit=1000&${side}=${middle}`)
  await ask('/backup/history')
  await ask('/storage/status', (body) => body.backups)
  await ask('/storage/usage', (body) => body.icloud_used_bytes)
  await ask('/photos/ignored')
  for (const device of devices) await ask(`/photos/ignored?device_id=${encodeURIComponent(device)}`)
  for (const device of devices) answers[`/photos/new of ${device}`] = await askNew(server, device, assets)
  return answers
}

/** What a phone of that model is asked for, of what it has and of what it has not told of yet. */
async function askNew(server: Server, device: string, assets: readonly Asset[]): Promise<unknown> {
  const own = assets.filter((one) => one.device === device)
  const screens = [1, 2, 3].map((n) => ({ path: `${DCIM}/SCREEN_${n}.PNG`, name: `SCREEN_${n}.PNG` }))
  const files = [
    ...own.map(({ path, id, name, created }) => ({ path, id, name, created })),
    ...own.map(({ path, name, created, bytes }) => ({ path, name, created, size: bytes.length })),
    ...own.map(({ path, id, name }) => ({ path: `${path}#YnBsaXN0MDD`, id, name, size: 12_345 })),
    ...own.map(({ path, name, bytes }) => ({
      path: `${path}.copy`,
      name,
      sha256: createHash('sha256').update(bytes).update(name).digest('hex'),
    })),
    ...['BROKEN_1.JPG', 'BROKEN_2.JPG', 'SAVED.JPG'].map((name) => ({ path: `${DCIM}/${name}`, name })),
    ...screens,
  ]
  return (await post(server.url, '/photos/new', { device_id: device, files })).body
}
