import { Command } from 'commander'
import { humanSize } from '../base/human-size.ts'
import { print, printError, printJson } from '../base/print.ts'
import type { RebuildFacts } from '../control/rebuild.ts'
import type { Progress } from '../control/works.ts'
import { COULD_NOT_RUN, type CommandContext, runCommand, type Session } from './context.ts'
import { describeWork, ProgressLine } from './progress.ts'
import { perform } from './session.ts'

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
  const line = new ProgressLine(process.stderr)
  const describe = describer()
  try {
    const facts = await perform(
      session,
      'rebuild',
      {},
      {
        progress: (progress) => line.show(() => describe(progress)),
        say: (text) => {
          line.clear()
          printError(text)
        },
      },
    )
    line.clear()
    if (json) printJson(resultOf(facts))
    else print(...describeFacts(facts))
    return facts.lost > 0 || facts.unreadable > 0 ? DONE_WITH_LOSSES : DONE
  } catch (error) {
    line.clear()
    if (!session.signal.aborted) throw error
    printError('Interrupted. Nothing is lost: run the same command again, and it goes on where it was.')
    return COULD_NOT_RUN
  }
}

/** What is shown while it works. */
function describer(): (progress: Progress<'rebuild'>) => string {
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

function resultOf({ journal, adopted, read, ...facts }: RebuildFacts) {
  return {
    library: facts.library,
    changed: facts.changed,
    from_journal: { backups: journal.backups, originals: journal.originals, ignored: journal.ignored },
    journal_found: journal.hasJournal,
    journal_damaged_lines: journal.damaged,
    adopted_files: adopted.files,
    adopted_bytes: adopted.bytes,
    read_files: read.files,
    read_bytes: read.bytes,
    newly_lost: facts.newlyLost,
    restored: facts.restored,
    lost: facts.lost,
    unreadable: facts.unreadable,
  }
}

function describeFacts(facts: RebuildFacts): string[] {
  const { journal, adopted, folder } = facts
  const lines = [
    facts.changed
      ? `The database knows the library in ${folder} again.`
      : `The database and the library in ${folder} agree. Nothing was changed.`,
  ]
  const known = journal.backups + journal.originals + journal.ignored
  if (facts.wasMirror) lines.push('The second copy has taken the place of the first: the database belongs to it now.')
  if (known > 0) {
    lines.push(
      `From the journal: ${journal.backups} backups of ${journal.originals} photos and videos, ${journal.ignored} ignored files.`,
    )
  }
  if (facts.wasEmpty && !journal.hasJournal) {
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
  if (facts.restored > 0) lines.push(`Were lost and are there again: ${facts.restored}.`)
  if (facts.lost > 0) {
    lines.push(
      `Not on the drive, or damaged there: ${facts.lost}. Phones are asked for them again; \`npm run iclood -- verify\` names them.`,
    )
  }
  if (facts.unreadable > 0) {
    lines.push(`Could not be read: ${facts.unreadable}; they are named above. Run this again to try once more.`)
  }
  return lines
}
