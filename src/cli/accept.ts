import { resolve, sep } from 'node:path'
import { Argument, Command, Option } from 'commander'
import { print, printJson } from '../base/print.ts'
import { acceptFindings, type Named } from '../catalogue/acceptance.ts'
import { countOpenFindings, type Finding, listOpenFindings } from '../catalogue/findings.ts'
import { FINDING_KINDS, type FindingKind } from '../catalogue/tables.ts'
import { COULD_NOT_RUN, type CommandContext, runCommand } from './context.ts'
import type { Session } from './session.ts'
import { describeFinding, findingOf } from './verify-report.ts'

const DONE = 0
const MAX_LISTED = 1_000

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

async function run(session: Session, findings: readonly string[], options: AcceptOptions): Promise<number> {
  const kinds = options.kind ?? []
  const asJson = options.json ?? false
  if (findings.length + kinds.length === 0) return list(session, asJson)
  const accepted = await acceptFindings(session.db, { ...named(session, findings), kinds }, new Date())
  if (asJson) printJson({ accepted: accepted.map(findingOf) })
  else print(...describe(accepted))
  return DONE
}

/** What a person types: numbers, and paths as in `verify --path`. */
function named({ config }: Session, findings: readonly string[]): Omit<Named, 'kinds'> {
  const root = resolve(config.libraryFolder)
  const isNumber = (text: string) => /^#?\d{1,15}$/.test(text)
  const within = (text: string) => {
    const absolute = resolve(root, text)
    return absolute.startsWith(root + sep)
      ? absolute
          .slice(root.length + 1)
          .split(sep)
          .join('/')
      : text
  }
  return {
    ids: findings.filter(isNumber).map((text) => Number(text.replace('#', ''))),
    paths: findings.filter((text) => !isNumber(text)).map(within),
  }
}

async function list({ db }: Session, asJson: boolean): Promise<number> {
  const open = await listOpenFindings(db, MAX_LISTED)
  const counts = await countOpenFindings(db)
  const total = counts.reduce((sum, { count }) => sum + count, 0)
  if (asJson) {
    printJson({ findings: open.map(findingOf), total })
    return DONE
  }
  if (open.length === 0) {
    print('There is nothing to accept.')
    return DONE
  }
  const lines = open.map(describeFinding)
  if (total > open.length) lines.push(`and ${total - open.length} more`)
  lines.push(
    '',
    `Accept one by its number or path, such as: accept ${open[0]?.id}; or all of a kind: accept --kind ${open[0]?.kind}`,
  )
  print(...lines)
  return DONE
}

function describe(accepted: readonly Finding[]): string[] {
  if (accepted.length === 0) return ['There is nothing of that kind to accept.']
  const count = `Accepted ${accepted.length} ${accepted.length === 1 ? 'finding' : 'findings'}:`
  return [count, ...accepted.map(describeFinding)]
}
