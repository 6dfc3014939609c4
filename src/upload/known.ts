import { askExifTool } from '../archive/exiftool.ts'
import type { Library } from '../archive/library.ts'
import type { Answer, KnownAsset } from '../catalogue/look-up.ts'
import { type Capture, captureOf, ownDateOf } from '../format/capture.ts'
import { parseLibraryPath } from '../format/layout.ts'
import { chooseRow } from './choose-row.ts'
import { lostUnread } from './decide.ts'
import type { Subject, Upload } from './inspect-upload.ts'
import { type Sizes, sizesOf } from './sizes.ts'

/** What catalogue and drive know of an upload at one moment. */
export interface Known {
  answer: Answer
  /** The row that was announced for it, and a completed one of the same asset with the same content. */
  announced: KnownAsset | undefined
  twin: KnownAsset | undefined
  /** When the phone says, or has said, that it was created: ms since 1970. */
  created: number | null
  /** The asset's id, told now or before. */
  assetId: string | null
  capture: Capture
  /** The capture date that its bytes tell, or null. */
  ownDate: Date | null
  /** Of what lies on the drive where its content may be. */
  sizes: Sizes
}

/**
 * Asks the catalogue, then the drive. When it returns, the staged bytes are durable. Throws `database_unavailable`,
 * `drive_missing`, and what made the flush fail.
 */
export async function lookUp(library: Library, upload: Upload, subject: Subject): Promise<Known> {
  const { staged, deviceId, path, assetId, address } = upload
  const { facts, role, stem } = subject
  const { timeZone } = library
  const { checksum, size } = staged
  const arrived = library.now()
  const taken = ownDateOf(facts.captured, arrived, timeZone)?.getTime() ?? null
  const said = { checksum, size, assetId, address, created: upload.created }
  const question = { ...said, deviceId, path, taken, stem, contentId: facts.contentId ?? null, role }
  // The catalogue answers while the drive flushes.
  const [answer] = await Promise.all([library.lookUp(question), staged.durable])

  const { announced, twin } = chooseRow({ ...said, taken: taken ?? upload.created }, answer.samePath)
  const row = announced ?? twin
  const created = upload.created ?? row?.created ?? null
  const lastSaid = answer.samePath.findLast((one) => one.created !== null)?.created ?? null
  const isDateless = facts.isForeign && created === null && lastSaid === null && answer.sameContent.length === 0
  const asked = isDateless ? await askExifTool(library, staged.path, arrived) : undefined
  const captured = facts.captured ?? asked

  await library.drive.checkTouched()
  const places = [...answer.sameContent.map((copy) => copy.path), ...answer.unreadOfSize].map(parseLibraryPath)
  return {
    answer,
    announced,
    twin,
    created,
    assetId: assetId ?? row?.assetId ?? twin?.assetId ?? null,
    capture: captureOf(captured, created ?? lastSaid, arrived, timeZone),
    ownDate: ownDateOf(captured, arrived, timeZone),
    sizes: await sizesOf(library.drive, [...places, ...lostUnread(answer, size)]),
  }
}
