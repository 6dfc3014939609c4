import { humanSize } from '../base/human-size.ts'
import type { Config } from '../config/config.ts'
import { deviceName, fullness } from '../health/problems.ts'
import type { HealthReport, StatusFacts } from '../health/report.ts'

const DAY_MS = 24 * 60 * 60 * 1000

/** Writes the lines of the page of `iclood status`: what is wrong and what to do comes first. */
export function renderStatus(facts: StatusFacts, config: Pick<Config, 'libraryFolder' | 'timeZone'>): string[] {
  const { problems, notes, checked_at: at } = facts.report
  const day = (time: string) => new Date(time).toLocaleString('sv-SE', { timeZone: config.timeZone }).slice(0, 16)
  const ago = (time: string) => `${day(time)}${since(Date.parse(at) - Date.parse(time))}`
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
    ...rows('Photos', [photosLine(facts.report)]),
    ...rows('Last backup', deviceLines(facts, ago)),
    ...rows('Drive', [driveLine(facts, config.libraryFolder)]),
    ...rows('Database', databaseLines(facts)),
    ...rows('Second copy', mirrorLines(facts)),
    ...rows('Checked', checkLines(facts.report, ago, day)),
  ]
}

/** One heading for several lines. */
function rows(heading: string, values: readonly string[]): string[] {
  return values.map((value, index) => `  ${(index === 0 ? heading : '').padEnd(13)}${value}`)
}

function photosLine({ photo_count: photos, video_count: videos, files }: HealthReport): string {
  const bytes = files.intact.bytes + files.unverified.bytes + files.unread.bytes
  return `${count(photos, 'photo')} and ${count(videos, 'video')}, ${humanSize(bytes)} on the drive`
}

function deviceLines({ devices, furtherDevices }: StatusFacts, ago: (time: string) => string): string[] {
  if (devices.length === 0) return ['no phone has backed up anything yet']
  const named = devices.map(({ device_id: name, last_backup: last }) => {
    return `${deviceName(name)}: ${last === null ? 'never' : ago(last)}`
  })
  return furtherDevices > 0 ? [...named, `and ${furtherDevices} more`] : named
}

function driveLine({ report, drive, isDriveMissing }: StatusFacts, folder: string): string {
  if (drive === null) return `${folder}: ${isDriveMissing ? 'not there' : 'can’t be used'}`
  const refusal = report.drive.reason === null ? '' : '; can’t be written to'
  return `${folder}: ${filled(drive)}${refusal}`
}

function databaseLines({ dataDir }: StatusFacts): string[] {
  return dataDir === null ? [] : [filled(dataDir, ' on its disk')]
}

function filled(fill: { free: number; used: number }, where = ''): string {
  const { free, used } = fill
  return `${humanSize(free)} free of ${humanSize(free + used)}${where} (${Math.round(fullness(fill) * 100)} % full)`
}

function mirrorLines({ report: { mirrors }, isMirrorKnown }: StatusFacts): string[] {
  if (!isMirrorKnown) return ['not known while the drive is away']
  if (mirrors.length === 0) return ['none; to have one on a second drive, set MIRROR_FOLDER']
  return mirrors.map((mirror) => (mirrors.length > 1 ? `${mirror.folder}: ${mirrorLine(mirror)}` : mirrorLine(mirror)))
}

function mirrorLine(mirror: HealthReport['mirrors'][number]): string {
  const note = mirror.on_same_drive ? '; it lies on the same drive as the photos, and would be lost with it' : ''
  const lack = `${count(mirror.lag_files, 'photo')} (${humanSize(mirror.lag_bytes)}) to be copied`
  switch (mirror.state) {
    case 'ok':
      return `complete${note}`
    case 'missing':
      return `not there; ${lack}`
    case 'full':
      return `full; ${lack}${note}`
    case 'error':
      return `not up to date; ${lack}${note}`
    default:
      return `${lack}${note}`
  }
}

function checkLines(
  { files, verification }: HealthReport,
  ago: (time: string) => string,
  day: (time: string) => string,
): string[] {
  const { total, intact, unverified, unread, missing } = files
  if (total.files === 0) return ['nothing to check yet']
  const left = unverified.files + unread.files
  const { oldest, next_due: nextDue } = verification
  return [
    `${intact.files} of ${count(total.files, 'file')} read back from the drive and intact`,
    ...(left > 0 ? [`${count(left, 'file')} not read back yet`] : []),
    ...(missing.files > 0 ? [`${count(missing.files, 'file')} missing or damaged`] : []),
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
