import { Command } from 'commander'
import { print, printJson } from '../base/print.ts'
import { deviceName } from '../health/problems.ts'
import { COULD_NOT_RUN, type CommandContext, runCommand, type Session } from './context.ts'
import { perform } from './session.ts'

const DONE = 0

/** `iclood forget`: says that a phone is not used any more. */
export function forgetCommand(context: CommandContext): Command {
  return new Command('forget')
    .description('stop waiting for a phone that is not used any more; its photos stay')
    .argument('[device]', 'its name, as `status` shows it; "unknown" for those without a name')
    .option('--further', 'the further devices that `status` counts in one line')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Without a name, it lists those that are waited for. Works beside a running server and without one. As soon as the phone looks in or sends something it is
waited for again.
Exit code: 0 done; 2 could not be done.`,
    )
    .exitOverride((error) => process.exit(error.exitCode === 0 ? DONE : COULD_NOT_RUN))
    .action((device: string | undefined, { json, further }: { json?: true; further?: true }) =>
      runCommand(context, (session) => run(session, device, further ?? false, json ?? false)),
    )
}

async function run(session: Session, typed: string | undefined, further: boolean, asJson: boolean): Promise<number> {
  const done = await perform(session, 'forget', { ...(typed !== undefined && { device: typed }), further })
  if ('devices' in done) {
    if (asJson) printJson(done)
    else print(...(done.devices.length === 0 ? ['There is no phone to forget.'] : done.devices))
    return DONE
  }
  const { forgotten } = done
  const [device = ''] = forgotten
  if (asJson) printJson({ forgotten: further ? forgotten : device })
  else if (further)
    print(`${forgotten.length} devices are not waited for any more, until they are heard of again. Their photos stay.`)
  else print(`${deviceName(device)} is not waited for any more, until it is heard of again. Its photos stay.`)
  return DONE
}
