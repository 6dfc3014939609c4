import { Command } from 'commander'
import { createLibrary } from '../archive/library.ts'
import { humanSize } from '../base/human-size.ts'
import { print, printError, printJson } from '../base/print.ts'
import type { AppError } from '../errors.ts'
import { hasChanged, type RebuildProgress, type RebuildReport, rebuild } from '../rebuild/rebuild.ts'
import { Drive } from '../storage/drive.ts'
import { lostAndUnread } from '../verify/lost-and-unread.ts'
import { COULD_NOT_RUN, type CommandContext, runCommand } from './context.ts'
import { describeWork, ProgressLine } from './progress.ts'
import type { Session } from './session.ts'

const DONE = 0
const DONE_WITH_LOSSES = 1

export function rebuildCommand(context: CommandContext): Command {
  return new Command('rebuild')
    .description('bring the database back from the drive; changes nothing where they agree')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Works beside a running server and without one. It may be interrupted at any time: called again, it goes on.
Exit code: 0 done; 1 done, but photos are missing or damaged; 2 could not be done.`,
    )
    .exitOverride((error) => process.exit(error.exitCode === 0 ? DONE : COULD_NOT_RUN))
    .action(({ json }: { json?: boolean }) => runCommand(context, (session) => run(session, json ?? false)))
}

async function run(session: Session, json: boolean): Promise<number> {
  const { config, db, signal } = session
  const line = new ProgressLine(process.stderr)
  const describe = describer()
  try {
    const report = await rebuild(db, config.libraryFolder, {
      open: (id) => {
        const drive = new Drive(config.libraryFolder, id, { onMissing: () => {}, onReturned: () => {} })
        return createLibrary(db, drive, { ...config, lostAndUnread, now: () => new Date() })
      },
      report: (progress) => line.show(() => describe(progress)),
      reportTrouble: (path, error) => {
        line.clear()
        printError(`${path}: ${describeTrouble(error)}`)
      },
      signal,
    })
    line.clear()
    if (json) printJson(resultOf(report))
    else print(...describeReport(report, config.libraryFolder))
    return report.lost > 0 || report.unreadable > 0 ? DONE_WITH_LOSSES : DONE
  } catch (error) {
    line.clear()
    if (!signal.aborted) throw error
    printError('Interrupted. Nothing is lost: run the same command again, and it goes on where it was.')
    return COULD_NOT_RUN
  }
}

function describeTrouble({ message, cause }: AppError): string {
  return cause instanceof Error ? `${message} (${cause.message})` : message
}

/** What is shown while it works. */
function describer(): (progress: RebuildProgress) => string {
  let begun: number | undefined
  return (progress) => {
    switch (progress.step) {
      case 'journal':
        return `Reading the journal: ${progress.lines} lines`
      case 'comparing':
        return `Comparing the drive with the database: ${progress.files} files`
      case 'reading': {
        begun ??= performance.now()
        const { done: files, total: totalFiles, bytes, totalBytes } = progress
        return `Reading photos: ${describeWork({ files, totalFiles, bytes, totalBytes }, performance.now() - begun)}`
      }
    }
  }
}

function resultOf(report: RebuildReport) {
  const { journal, adopted, losses, read } = report
  return {
    library: report.library,
    changed: hasChanged(report),
    from_journal: { backups: journal.backups, originals: journal.originals, ignored: journal.ignored },
    journal_found: journal.hasJournal,
    journal_damaged_lines: journal.damaged,
    adopted_files: adopted.files,
    adopted_bytes: adopted.bytes,
    read_files: read.done - read.unreadable,
    read_bytes: read.bytes,
    newly_lost: losses.lost + read.missing + read.corrupt,
    restored: losses.restored,
    lost: report.lost,
    unreadable: report.unreadable,
  }
}

function describeReport(report: RebuildReport, folder: string): string[] {
  const { journal, adopted, losses } = report
  const lines = [
    hasChanged(report)
      ? `The database knows the library in ${folder} again.`
      : `The database and the library in ${folder} agree. Nothing was changed.`,
  ]
  const restored = journal.backups + journal.originals + journal.ignored
  if (report.wasMirror) lines.push('The second copy has taken the place of the first: the database belongs to it now.')
  if (restored > 0) {
    lines.push(
      `From the journal: ${journal.backups} backups of ${journal.originals} photos and videos, ${journal.ignored} ignored files.`,
    )
  }
  if (report.wasEmpty && !journal.hasJournal) {
    lines.push('The drive has no journal. What phones send again is recognised by its content.')
  }
  if (journal.damaged > 0) {
    lines.push(
      `The journal has ${journal.damaged} lines that can’t be read. What only they knew phones are asked for again; nothing is stored twice.`,
    )
  }
  if (adopted.files > 0) {
    lines.push(`Found without a record and taken in: ${adopted.files} files, ${humanSize(adopted.bytes)}.`)
  }
  if (losses.restored > 0) lines.push(`Were lost and are there again: ${losses.restored}.`)
  if (report.lost > 0) {
    lines.push(
      `Not on the drive, or damaged there: ${report.lost}. Phones are asked for them again; \`npm run iclood -- verify\` names them.`,
    )
  }
  if (report.unreadable > 0) {
    lines.push(`Could not be read: ${report.unreadable}; they are named above. Run this again to try once more.`)
  }
  return lines
}
