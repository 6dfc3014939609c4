import { deviceName } from '../health/problems.ts'
import type { MediaKind } from '../media/media-type.ts'

/** A photo or video that has been backed up. */
export interface Arrival {
  deviceId: string | null
  kind: MediaKind
  /** Whether the library did not have it before. */
  isNew: boolean
}

interface Counts {
  photo: number
  video: number
  known: number
}

const MINUTE_MS = 60_000
/** A person sees no more changes than that. */
const SHOWN_EVERY_MS = 250
/** Names are whatever anybody sends. */
const MAX_NAMED = 5
const MAX_COUNTED = 100

/** Says what has arrived: one line a minute in the log, and in a terminal a line that grows meanwhile. */
export class Arrivals {
  readonly #log: { info(line: string): void }
  readonly #show: ((line: string) => void) | undefined
  #devices = new Map<string, Counts>()
  #minute: NodeJS.Timeout | undefined
  #shownAt = Number.NEGATIVE_INFINITY

  constructor(log: { info(line: string): void }, show: ((line: string) => void) | undefined) {
    this.#log = log
    this.#show = show
  }

  note({ deviceId, kind, isNew }: Arrival): void {
    this.#minute ??= setTimeout(() => this.tell(), MINUTE_MS).unref()
    const name = deviceName(deviceId ?? 'unknown')
    const device = this.#devices.has(name) || this.#devices.size < MAX_COUNTED ? name : 'devices of many names'
    const counts = this.#devices.get(device) ?? { photo: 0, video: 0, known: 0 }
    counts[isNew ? kind : 'known']++
    this.#devices.set(device, counts)
    if (performance.now() - this.#shownAt < SHOWN_EVERY_MS) return
    this.#shownAt = performance.now()
    this.#show?.(`  … ${sentence(this.#devices)}`)
  }

  /** Logs what has arrived since the last time, if anything has. */
  tell(): void {
    clearTimeout(this.#minute)
    this.#minute = undefined
    const devices = this.#devices
    this.#devices = new Map()
    this.#show?.('')
    if (devices.size > 0) this.#log.info(sentence(devices))
  }
}

/** `12 photos and 1 video from "iPhone 15", 3 photos from "iPad"` */
export function sentence(devices: ReadonlyMap<string, Counts>): string {
  const parts = [...devices].slice(0, MAX_NAMED).map(([device, counts]) => `${amount(counts)} from ${device}`)
  const left = devices.size - parts.length
  return left > 0 ? `${parts.join(', ')} and more from ${left} others` : parts.join(', ')
}

function amount({ photo, video, known }: Counts): string {
  const arrived = [counted(photo, 'photo'), counted(video, 'video')].filter((part) => part !== '')
  const there = known > 0 ? `${known} that ${known === 1 ? 'was' : 'were'} there already` : ''
  return [...arrived, there].filter((part) => part !== '').join(' and ')
}

function counted(count: number, noun: string): string {
  return count === 0 ? '' : `${count} ${noun}${count === 1 ? '' : 's'}`
}
