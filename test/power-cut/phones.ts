import { createHash } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { expect } from 'vitest'
import { heic, jpeg, mov } from '../support/media.ts'
import { type Answer, post, upload } from '../support/phone.ts'
import type { TestServer } from '../support/server.ts'

/** A file on a phone, as it announces and sends it. */
export interface Asset {
  device: string
  id: string
  path: string
  name: string
  /** ms since 1970. */
  created: number
  bytes: Buffer
  checksum: string
}

const MONTHS = [
  [2023, 11],
  [2023, 12],
  [2024, 1],
  [2024, 2],
] as const

/** The phones of a household: what they have taken, and what of it the server has said to have. */
export class Phones {
  readonly taken: Asset[] = []
  /** With the path in the library that each was answered with. */
  readonly acknowledged = new Map<Asset, string>()
  readonly #random: () => number

  constructor(random: () => number) {
    this.#random = random
  }

  /**
   * Takes the pictures of one more day with three phones, about 7 MB: photos and a video of several megabytes, Live
   * Photos, one name again and again, one picture on all phones.
   */
  takePictures(): void {
    const day = this.taken.length
    const sent = this.#photo('WhatsApp', day, 'IMG-WA.JPG', 40_000)
    for (const [index, device] of ['iPhone 13', 'iPhone 15', 'iPhone 16'].entries()) {
      const folder = `file:///var/mobile/Media/DCIM/${100 + day}APPLE`
      const shots = [
        this.#photo(device, day, 'IMG_0001.JPG', 30_000 + Math.floor(this.#random() * 300_000)),
        ...this.#livePhoto(device, day),
        this.#photo(device, day, 'IMG_0003.HEIC', 250_000 + Math.floor(this.#random() * 500_000)),
        { ...sent, id: `${device} ${day} ${sent.name}` },
      ]
      if (index === day % 3) shots.push(this.#film(device, day))
      this.taken.push(...shots.map((shot) => ({ ...shot, device, path: `${folder}/${shot.name}` })))
    }
  }

  /** Takes one photo in May of `year`; the others are all of later years than 2022. */
  takeOne(year: number, size: number): Asset {
    const device = 'iPhone SE'
    const name = 'IMG_1000.JPG'
    const bytes = jpeg({ date: `${year}:05:05 10:00:00`, size, seed: `${year} ${this.#random()}` })
    const path = `file:///var/mobile/Media/DCIM/${year}APPLE/${name}`
    const asset = { ...this.#asset(device, name, `${device} ${year}`, Date.UTC(year, 4, 5, 8), bytes), path }
    this.taken.push(asset)
    return asset
  }

  /** Takes over a picture on another phone. */
  share(asset: Asset, device: string): Asset {
    const copy = { ...asset, device, id: `${device} ${asset.id}` }
    this.taken.push(copy)
    return copy
  }

  #photo(device: string, day: number, name: string, size: number): Asset {
    const [year, month] = this.#month()
    const take = name.endsWith('.HEIC') ? heic : jpeg
    const date = `${year}:${String(month).padStart(2, '0')}:05 10:00:00`
    const bytes = take({ date, size, seed: `${device} ${day} ${name} ${this.#random()}` })
    return this.#asset(device, name, `${device} ${day} ${name}`, Date.UTC(year, month - 1, 5, 9), bytes)
  }

  #livePhoto(device: string, day: number): Asset[] {
    const still = this.#photo(device, day, 'IMG_0002.HEIC', 200_000)
    const creationDate = new Date(still.created + 60 * 60 * 1000).toISOString().replace('.000Z', '+0100')
    const film = mov({ creationDate, size: 500_000, seed: `${device} ${day} live ${this.#random()}` })
    return [still, this.#asset(device, 'IMG_0002.MOV', still.id, still.created, film)]
  }

  #film(device: string, day: number): Asset {
    const [year, month] = this.#month()
    const at = new Date(Date.UTC(year, month - 1, 5, 9))
    const bytes = mov({ mvhd: at, size: 3_000_000, seed: `${device} ${day} film ${this.#random()}` })
    return this.#asset(device, 'IMG_0004.MOV', `${device} ${day} film`, at.getTime(), bytes)
  }

  #asset(device: string, name: string, id: string, created: number, bytes: Buffer): Asset {
    const checksum = createHash('sha256').update(bytes).digest('hex')
    return { device, id, path: '', name, created, bytes, checksum }
  }

  #month(): readonly [year: number, month: number] {
    return MONTHS[Math.floor(this.#random() * MONTHS.length)] ?? MONTHS[0]
  }

  /** What the server has not said to have yet. */
  unacknowledged(): Asset[] {
    return this.taken.filter((asset) => !this.acknowledged.has(asset))
  }

  /**
   * Asks for each phone which of its files the server wants, and returns those. Throws if the server does not answer.
   */
  async offerAll(server: TestServer): Promise<Asset[]> {
    const devices = [...new Set(this.taken.map((asset) => asset.device))]
    const wanted = await Promise.all(
      devices.map(async (device) => {
        const mine = this.taken.filter((asset) => asset.device === device)
        const files = mine.map(({ path, id, name, created }) => ({ path, id, name, created, size: 0 }))
        const { status, body } = await post(server.url, '/photos/new', { device_id: device, files })
        expect({ status, body }).toMatchObject({ status: 200 })
        const paths = new Set(body.new_files.map((file: { path: string }) => file.path))
        return mine.filter((asset) => paths.has(asset.path))
      }),
    )
    return wanted.flat()
  }

  /** Sends one file and notes the answer, if there is one. */
  async send(server: TestServer, asset: Asset): Promise<Answer | undefined> {
    const fields = { device_id: asset.device, original_path: asset.path, asset_id: asset.id }
    const answer = await upload(server.url, asset.bytes, { name: asset.name, fields }).catch(() => undefined)
    if (answer?.status === 200 || answer?.status === 201) this.acknowledged.set(asset, answer.body.backup.file_path)
    return answer
  }

  /**
   * Sends all that is not acknowledged, from all phones at once and two files at a time from each, until `isOver`. What
   * the server does not take now is sent again later.
   */
  async sendAll(server: TestServer, isOver: () => boolean): Promise<void> {
    // In no order of theirs, and in the same one with the same seed.
    const shuffled = this.unacknowledged().sort((a, b) => (a.checksum < b.checksum ? -1 : 1))
    await Promise.all(
      [...new Set(shuffled.map((asset) => asset.device))].map(async (device) => {
        const left = shuffled.filter((asset) => asset.device === device)
        const sender = async () => {
          for (let asset = left.pop(); asset !== undefined && !isOver(); asset = left.pop()) {
            const answer = await this.send(server, asset)
            if (isOver()) return
            expect(answer).toMatchObject({ status: expect.toBeOneOf([200, 201, 503]) })
            if (answer?.status === 503) {
              left.unshift(asset)
              await setTimeout(100)
            }
          }
        }
        await Promise.all([sender(), sender()])
      }),
    )
  }
}
