import { Command } from 'commander'
import { humanSize } from '../base/human-size.ts'
import { print, printJson } from '../base/print.ts'
import type { MirrorFacts } from '../control/mirror.ts'
import { type CommandContext, runCommand, type Session } from './context.ts'
import { perform } from './session.ts'

const DONE = 0
const NOT_WELL = 1

export function mirrorCommand(context: CommandContext): Command {
  return new Command('mirror')
    .description('say how the second copy is; the server keeps it')
    .option(
      '--replace [folder]',
      'from now on keep it on the drive that is in MIRROR_FOLDER (of several: in this one) now, instead of the one before',
    )
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Nothing is deleted: what lies in the folder already is compared, and what is no copy is moved to its quarantine.
Exit code: 0 the second copy is there; 1 it is missing, full or failing; 2 could not be found out.`,
    )
    .action(({ replace, json }: { replace?: string | true; json?: boolean }) =>
      runCommand(context, (session) => run(session, replace === true ? '' : replace, json ?? false)),
    )
}

async function run(session: Session, replace: string | undefined, json: boolean): Promise<number> {
  const facts = await perform(session, 'mirror', replace === undefined ? {} : { replace })
  if (json) printJson(facts)
  else print(...(facts.mirrors ?? [facts]).flatMap(describe))
  const isWell = (facts.mirrors ?? [facts]).every(({ state }) => !['missing', 'full', 'error'].includes(state))
  return isWell ? DONE : NOT_WELL
}

function describe(facts: MirrorFacts): string[] {
  if (facts.state === 'none') return ['There is no second copy: MIRROR_FOLDER is not set.']
  const lines = [`Second copy: ${facts.folder}`]
  if (facts.reason !== null) lines.push(facts.reason)
  lines.push(
    facts.files_behind === 0
      ? 'It has every photo.'
      : `It lacks ${facts.files_behind} of the photos (${humanSize(facts.bytes_behind)}); the server copies them.`,
  )
  if (facts.same_device) lines.push('It is on the same drive as the library: when that drive fails, both are lost.')
  return lines
}
