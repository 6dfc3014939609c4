import { DAY_MS } from '../base/clock.ts'
import type { KnownAsset } from '../catalogue/look-up.ts'
import type { Checksum } from '../media/checksum.ts'

/** An upload as far as it matters for which asset it is. Times are ms since 1970. */
export interface Arrival {
  checksum: Checksum
  /** Bytes. */
  size: number
  assetId: string | null
  /** Where it came from. */
  address: string
  /** The capture date that its bytes tell, or what the phone sent with it; null if neither says. */
  taken: number | null
  /** What the phone sent with it, whatever its bytes tell; null if it did not say. */
  created: number | null
}

export interface ChosenRow {
  /** The row announced for this asset; what the phone said then belongs to it. */
  announced: KnownAsset | undefined
  /** A completed row of the same asset with the same content. */
  twin: KnownAsset | undefined
}

/** Times that are equal, though one was told in seconds. */
const SAME_MS = 1000

/**
 * Decides which of `samePath`, the rows of its device and path that are its asset as far as can be told
 * (`isSameAsset`), an upload belongs to. Two phones of one model share a path, so an upload without an asset id is
 * matched by where it came from and by when it was taken, and a row that may be the other phone's is left alone: that
 * phone is asked again, and content makes asking free.
 */
export function chooseRow(arrival: Arrival, samePath: readonly KnownAsset[]): ChosenRow {
  const waiting = samePath.filter((row) => row.status !== 'Completed')
  const same = samePath.filter((row) => row.status === 'Completed' && row.checksum === arrival.checksum)

  if (arrival.assetId !== null) {
    const hasItsId = (row: KnownAsset) => row.assetId === arrival.assetId
    return {
      announced: newest(waiting.filter(hasItsId)) ?? chooseWaiting(arrival, waiting, same),
      twin: same.find(hasItsId) ?? same[0],
    }
  }

  const announced = chooseWaiting(arrival, waiting, same)
  if (announced === undefined) return { announced, twin: same[0] }
  return {
    announced,
    twin: same.find((row) => row.assetId === announced.assetId || hasNoId(row) || hasNoId(announced)),
  }
}

function chooseWaiting(
  arrival: Arrival,
  waiting: readonly KnownAsset[],
  same: readonly KnownAsset[],
): KnownAsset | undefined {
  // One that was lost is asked for by its content.
  const lost = newest(waiting.filter((row) => row.isLost === true && row.checksum === arrival.checksum))
  if (lost !== undefined) return lost
  const taken = arrival.created ?? arrival.taken ?? same[0]?.created ?? null
  const isFromHere = (row: KnownAsset) => row.announcedFrom === arrival.address
  const near = waiting.filter(isFromHere)
  const fitting = waiting.filter((row) => !isContradicted(row, arrival.size, taken))
  const chosen = nearest(fitting.filter(isFromHere), taken) ?? nearest(fitting, taken) ?? onlyOne(near)
  if (chosen === undefined) return chooseAgainstDate(arrival, near, same)

  // The content is known under this path: this may be a phone sending once more what it sent before, while the row
  // waits for another one. From another address, likewise.
  const isCertain = isFromHere(chosen) && same.length === 0
  const off = distance(chosen, taken)
  if (isCertain || off <= DAY_MS) return chosen
  return chooseAgainstDate(arrival, near, same)
}

/** Whether what is known of it tells that the row waits for something else. */
function isContradicted(row: KnownAsset, size: number, taken: number | null): boolean {
  const off = distance(row, taken)
  return (row.announcedSize !== null && row.announcedSize !== size) || (off > DAY_MS && Number.isFinite(off))
}

/**
 * What its phone was asked for, and sends, is that, though its bytes tell another date or are not as many as were
 * announced: people correct dates, and phones convert what they send. Where several wait, it may be any of them.
 */
function onlyOne(rows: readonly KnownAsset[]): KnownAsset | undefined {
  return rows.length === 1 ? rows[0] : undefined
}

/**
 * The row, announced from its address, of a known content whose bytes tell another date than its phone does, such as
 * one that was corrected there. Left waiting, it would be asked for at every backup.
 */
function chooseAgainstDate(
  arrival: Arrival,
  near: readonly KnownAsset[],
  same: readonly KnownAsset[],
): KnownAsset | undefined {
  // What a phone said of it, now or before: a new phone has other ids and the same dates.
  const said = [arrival.created, ...same.map((row) => row.created)]
  const fitting = newest(near.filter((row) => said.some((created) => distance(row, created) <= SAME_MS)))
  if (fitting !== undefined) return fitting
  // Rows of older servers say nothing. What is sent again was asked for, and nothing else is waiting from there.
  const saysNothing = same.every((row) => row.assetId === null && row.created === null)
  return same.length > 0 && saysNothing ? onlyOne(near) : undefined
}

/** Of several as near, the newest. */
function nearest(rows: readonly KnownAsset[], taken: number | null): KnownAsset | undefined {
  const least = rows.reduce((so, row) => Math.min(so, distance(row, taken)), Number.POSITIVE_INFINITY)
  return newest(rows.filter((row) => distance(row, taken) === least))
}

/** How far the row's `created` is from `taken`; infinitely, if either is unknown. */
function distance(row: KnownAsset, taken: number | null): number {
  return row.created === null || taken === null ? Number.POSITIVE_INFINITY : Math.abs(row.created - taken)
}

function hasNoId(row: KnownAsset): boolean {
  return row.assetId === null
}

function newest(rows: readonly KnownAsset[]): KnownAsset | undefined {
  return rows.toSorted((a, b) => (b.timestamp ?? 0) - (a.timestamp ?? 0) || b.id - a.id)[0]
}
