import { humanSize } from '../base/human-size.ts'
import type { Config } from '../config/config.ts'
import type { Health } from '../health/model.ts'
import { deviceName, devicesOf, fullness, isForgotten } from '../health/problems.ts'
import type { MirrorStatus } from '../mirror/status.ts'

const DAY_MS = 24 * 60 * 60 * 1000
/** Phones listed; in a household there are fewer. */
const MAX_DEVICES = 20

/** Writes the lines of the page of `iclood status`: what is wrong and what to do comes first. */
export function renderStatus(health: Health, config: Pick<Config, 'libraryFolder' | 'timeZone'>): string[] {
  const { problems, notes, at } = health
  const day = (date: Date) => date.toLocaleString('sv-SE', { timeZone: config.timeZone }).slice(0, 16)
  const ago = (date: Date) => `${day(date)}${since(at.getTime() - date.getTime())}`
  const headline =
    problems.length === 0
      ? 'All is well.'
      : `${problems.length === 1 ? 'Something is' : `${problems.length} things are`} wrong:`
  return [
    headline,
    '',
    ...problems.flatMap(({ title, message, since: from }) => [
      `  ! ${title} (since ${day(from)})`,
      `    ${message}`,
      '',
    ]),
    ...notes.flatMap(({ title, message, since: from }) => [`  * ${title} (${day(from)})`, `    ${message}`, '']),
    ...rows('Photos', [photosLine(health)]),
    ...rows('Last backup', deviceLines(health, ago)),
    ...rows('Drive', [driveLine(health, config.libraryFolder)]),
    ...rows('Database', databaseLines(health)),
    ...rows('Second copy', [mirrorLine(health.mirror)]),
    ...rows('Checked', checkLines(health, ago, day)),
  ]
}

/** One heading for several lines. */
function rows(heading: string, values: readonly string[]): string[] {
  return values.map((value, index) => `  ${(index === 0 ? heading : '').padEnd(13)}${value}`)
}

function photosLine({ backups, proof }: Health): string {
  const bytes = proof.intact.bytes + proof.unverified.bytes + proof.unread.bytes
  return `${count(backups.photos, 'photo')} and ${count(backups.videos, 'video')}, ${humanSize(bytes)} on the drive`
}

function deviceLines(health: Health, ago: (date: Date) => string): string[] {
  const devices = health.devices.filter((device) => !isForgotten(device))
  if (devices.length === 0) return ['no phone has backed up anything yet']
  const named = devicesOf({ ...health, devices }, MAX_DEVICES).map(({ deviceId, lastBackup }) => {
    return `${deviceName(deviceId)}: ${lastBackup === null ? 'never' : ago(lastBackup)}`
  })
  const left = devices.length - named.length
  return left > 0 ? [...named, `and ${left} more`] : named
}

function driveLine({ drive }: Health, folder: string): string {
  if (!drive.isPresent) return `${folder}: ${drive.reason.code === 'drive_missing' ? 'not there' : 'can’t be used'}`
  const { free, used } = drive.usage
  const refusal = drive.refusal === undefined ? '' : '; can’t be written to'
  const share = Math.round(fullness(drive.usage) * 100)
  return `${folder}: ${humanSize(free)} free of ${humanSize(free + used)} (${share} % full)${refusal}`
}

function databaseLines({ dataDir }: Health): string[] {
  if (dataDir === undefined) return []
  const { free, used } = dataDir
  const share = Math.round(fullness(dataDir) * 100)
  return [`${humanSize(free)} free of ${humanSize(free + used)} on its disk (${share} % full)`]
}

function mirrorLine(mirror: MirrorStatus | undefined): string {
  if (mirror === undefined) return 'not known while the drive is away'
  const { state, backlog, isOnOneDevice } = mirror
  const note = isOnOneDevice ? '; it lies on the same drive as the photos, and would be lost with it' : ''
  const lack = `${count(backlog.files, 'photo')} (${humanSize(backlog.bytes)}) to be copied`
  switch (state) {
    case 'none':
      return 'none; to have one on a second drive, set MIRROR_FOLDER'
    case 'ok':
      return `complete${note}`
    case 'behind':
      return `${lack}${note}`
    case 'missing':
      return `not there; ${lack}`
    case 'full':
      return `full; ${lack}${note}`
    case 'error':
      return `not up to date; ${lack}${note}`
  }
}

function checkLines({ proof, nextDue }: Health, ago: (date: Date) => string, day: (date: Date) => string): string[] {
  const { intact, unverified, unread, lost, oldest } = proof
  const total = intact.files + unverified.files + unread.files + lost.files
  if (total === 0) return ['nothing to check yet']
  const left = unverified.files + unread.files
  return [
    `${intact.files} of ${count(total, 'file')} read back from the drive and intact`,
    ...(left > 0 ? [`${count(left, 'file')} not read back yet`] : []),
    ...(lost.files > 0 ? [`${count(lost.files, 'file')} missing or damaged`] : []),
    ...(oldest === null ? [] : [`longest ago: ${ago(oldest)}`]),
    ...(nextDue === null ? [] : [`next due: ${day(nextDue)}`]),
  ]
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`
}

function since(ms: number): string {
  const days = Math.floor(ms / DAY_MS)
  if (days < 1) return ''
  return days === 1 ? ' (1 day ago)' : ` (${days} days ago)`
}
