import { Argument, Command, Option } from 'commander'
import { print, printJson } from '../base/print.ts'
import { FINDING_KINDS, type FindingKind } from '../catalogue/tables.ts'
import type { Found } from '../control/found.ts'
import { COULD_NOT_RUN, type CommandContext, runCommand, type Session } from './context.ts'
import { perform } from './session.ts'
import { describeFinding } from './verify-report.ts'

const DONE = 0

interface AcceptOptions {
  kind?: FindingKind[]
  json?: true
}

/** `iclood accept`: says that what was found is known and no problem any more. */
export function acceptCommand(context: CommandContext): Command {
  return new Command('accept')
    .description('end the alarm about something that was found: it is known, and meant to be so')
    .addArgument(new Argument('[finding...]', 'its number, or its path such as 2024/07/IMG_0042.HEIC'))
    .addOption(new Option('--kind <kind...>', 'all of a kind').choices(FINDING_KINDS))
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Without anything, it lists what there is to accept. Works beside a running server and without one; the drive may be away. No file is touched.
A photo whose loss is accepted is not missed any more, and never called safe. A phone that still has it may send it again; to keep it
from doing so, ignore the photo in the app, which accepts its loss as well. What is damaged anew is told anew.
Exit code: 0 done; 2 could not be done, and nothing was accepted.`,
    )
    .exitOverride((error) => process.exit(error.exitCode === 0 ? DONE : COULD_NOT_RUN))
    .action((findings: string[], options: AcceptOptions) =>
      runCommand(context, (session) => run(session, findings, options)),
    )
}

async function run(session: Session, findings: string[], { kind: kinds = [], json }: AcceptOptions): Promise<number> {
  const found = await perform(session, 'accept', { findings, kinds })
  if ('accepted' in found) {
    if (json) printJson({ accepted: found.accepted })
    else print(...describe(found.accepted))
    return DONE
  }
  const { open, total } = found
  if (json) printJson({ findings: open, total })
  else print(...list(open, total))
  return DONE
}

function list(open: readonly Found[], total: number): string[] {
  const [first] = open
  if (first === undefined) return ['There is nothing to accept.']
  return [
    ...open.map(describeFinding),
    ...(total > open.length ? [`and ${total - open.length} more`] : []),
    '',
    `Accept one by its number or path, such as: accept ${first.id}; or all of a kind: accept --kind ${first.kind}`,
  ]
}

function describe(accepted: readonly Found[]): string[] {
  if (accepted.length === 0) return ['There is nothing of that kind to accept.']
  const count = `Accepted ${accepted.length} ${accepted.length === 1 ? 'finding' : 'findings'}:`
  return [count, ...accepted.map(describeFinding)]
}
