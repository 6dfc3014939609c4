import { Command } from 'commander'
import { print, printJson } from '../base/print.ts'
import { askHealth } from '../control/ask.ts'
import { AppError } from '../errors.ts'
import { factsIn, type HealthReport, type StatusFacts } from '../health/report.ts'
import { type CommandContext, runCommand, type Session } from './context.ts'
import { perform } from './session.ts'
import { renderStatus } from './status-page.ts'

/** The exit code where something is wrong with the backup. */
const PROBLEMS = 1

/** `iclood status`: how the household's backup is, for people and (`--json`) for programs. */
export function statusCommand(context: CommandContext): Command {
  return new Command('status')
    .description('say how the backup is, and what is wrong with it')
    .option('--json', 'for programs: what /library/health answers')
    .addHelpText('after', '\nExits with 0 if all is well, 1 if something is wrong, 2 if it could not be found out.')
    .action((options: { json?: true }) => runCommand(context, (session) => showStatus(session, options.json ?? false)))
}

async function showStatus(session: Session, asJson: boolean): Promise<number> {
  const facts = await perform(session, 'status', {}).catch((error: unknown) => {
    if (error instanceof AppError && error.code === 'unauthorized') return askEverybodys(session, error)
    throw error
  })
  if (asJson) printJson(facts.report, 2)
  else print(...renderStatus(facts, session.config))
  return facts.report.healthy ? 0 : PROBLEMS
}

/** What a server that runs tells everybody on this machine. Throws `refusal` if none answers. */
async function askEverybodys({ config, signal }: Session, refusal: AppError): Promise<StatusFacts> {
  const { host, port } = config
  const report = await askHealth(host, port, signal)
  if (report === undefined) throw refusal
  return factsIn(report as HealthReport)
}
