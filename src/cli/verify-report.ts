import { humanSize } from '../base/human-size.ts'
import type { Found } from '../control/found.ts'
import type { PassReport } from '../control/verify.ts'

/** The result of `iclood verify` for programs. */
export function resultOf({ files, bytes, seconds, findings }: PassReport) {
  return {
    status: hasNews(findings) ? 'findings' : 'clean',
    checked: { files, bytes, seconds: round(seconds), bytes_per_second: seconds > 0 ? Math.round(bytes / seconds) : 0 },
    findings,
  }
}

/** Whether something was found that nobody has accepted. */
export function hasNews(findings: readonly Found[]): boolean {
  return findings.some((finding) => finding.accepted_at === null)
}

function round(seconds: number): number {
  return Math.round(seconds * 1000) / 1000
}

/**
 * The same for people, in lines: a summary, and one for each finding with what has been done and what is left to do.
 */
export function describeReport({ files, bytes, seconds, findings }: PassReport): string[] {
  const speed = seconds > 0 ? `, ${humanSize(Math.round(bytes / seconds))}/s` : ''
  const read = `Read ${files} ${files === 1 ? 'file' : 'files'} back (${humanSize(bytes)}${speed}).`
  if (findings.length === 0) return [`${read} All is as it was stored.`]
  const open = findings.filter((finding) => finding.healed_at === null && finding.accepted_at === null).length
  const healed = findings.filter((finding) => finding.healed_at !== null && finding.accepted_at === null).length
  const accepted = findings.length - open - healed
  const count = `${findings.length} ${findings.length === 1 ? 'finding' : 'findings'}`
  const parts = [
    ...(open > 0 ? [`${open === findings.length ? 'none' : `${open} not`} healed yet`] : []),
    ...(accepted > 0 ? [`${accepted} accepted`] : []),
  ]
  const left = parts.length === 0 ? 'all healed' : parts.join(', ')
  return [`${read} ${count}, ${left}:`, ...findings.map(describeFinding)]
}

/** One line, with what has been done and what is left to do. */
export function describeFinding(finding: Found): string {
  const { id, copy, kind, path } = finding
  const where = copy === 'mirror' ? 'second copy: ' : ''
  return `${kind.padEnd(10)} ${where}${path}: ${whatIs(finding)} ${outcomeOf(finding)} [${id}]`
}

function outcomeOf(finding: Found): string {
  if (finding.accepted_at !== null) return 'A person has accepted that.'
  return finding.healed_by === null ? adviceOn(finding) : `Healed by ${finding.healed_by}.`
}

const TOO_LONG = 'something far longer is in its place, which was not read to its end'

function whatIs({ kind, path, expected, found, quarantined }: Found): string {
  switch (kind) {
    case 'missing':
      return 'it is not on the drive any more.'
    case 'corrupt':
      return `it was damaged: ${found === null ? TOO_LONG : `SHA-256 ${found}`}, expected ${expected}. ${placeOf(quarantined)}`
    case 'unreadable':
      return found === null ? 'the drive can’t read it.' : `${found.replace(path, 'it')}, and no file of the library.`
    case 'unknown':
      return `it ${found === null ? '' : `is ${found}, `}lies among the photos, but was not put there by a backup.`
    case 'sums':
      if (expected === null) return `it has a line that is not about any photo${found === null ? '' : ` (${found})`}.`
      return found === null ? `it lacks the line "${expected}".` : `it says "${found}", expected "${expected}".`
  }
}

function placeOf(quarantined: string | null): string {
  return quarantined === null ? 'The drive does not let it be moved away.' : `The damaged file is now ${quarantined}.`
}

function adviceOn({ copy, kind, found }: Found): string {
  if (copy === 'mirror' && kind !== 'unknown') return 'The server copies it again.'
  switch (kind) {
    case 'missing':
    case 'corrupt':
      return 'The phones are asked for it again; open the app on them. Or put the file back from another backup.'
    case 'unreadable':
      return `The phones are asked for it again; open the app on them. ${
        found === null ? 'Check the drive’s cable and health.' : 'Move what is there elsewhere.'
      }`
    case 'unknown':
      return found === null ? 'If it is a photo, send it from a phone; or move it elsewhere.' : 'Move it elsewhere.'
    case 'sums':
      return 'The server writes it anew when it next compares the folders.'
  }
}
