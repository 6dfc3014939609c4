import { Command } from 'commander'
import { forgetDevice, listDevices } from '../catalogue/devices.ts'
import { deviceName, isForgotten } from '../ingest/health/problems.ts'
import { print, printJson } from '../print.ts'
import { printable } from '../shown.ts'
import { COULD_NOT_RUN, type CommandContext, runCommand } from './context.ts'
import type { Session } from './session.ts'

const DONE = 0
const MAX_LISTED = 200

/** `iclood forget`: says that a phone is not used any more. */
export function forgetCommand(context: CommandContext): Command {
  return new Command('forget')
    .description('stop waiting for a phone that is not used any more; its photos stay')
    .argument('[device]', 'its name, as `status` shows it; "unknown" for those without a name')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Without a name, it lists those that are waited for. Works beside a running server and without one. As soon as the phone looks in or sends something it is
waited for again.
Exit code: 0 done; 2 could not be done.`,
    )
    .exitOverride((error) => process.exit(error.exitCode === 0 ? DONE : COULD_NOT_RUN))
    .action((device: string | undefined, { json }: { json?: true }) =>
      runCommand(context, (session) => run(session, device, json ?? false)),
    )
}

async function run({ db }: Session, typed: string | undefined, asJson: boolean): Promise<number> {
  const now = new Date()
  const devices = await listDevices(db, MAX_LISTED, now)
  if (typed === undefined) {
    const names = devices.filter((one) => !isForgotten(one)).map(({ deviceId }) => deviceId)
    if (asJson) printJson({ devices: names })
    else print(...(names.length === 0 ? ['There is no phone to forget.'] : names))
    return DONE
  }
  // A name that a terminal can't show is typed as it has been printed.
  const device = devices.find(({ deviceId }) => printable(deviceId) === typed)?.deviceId ?? typed
  await forgetDevice(db, device, now)
  if (asJson) printJson({ forgotten: device })
  else print(`${deviceName(device)} is not waited for any more, until it is heard of again. Its photos stay.`)
  return DONE
}
