import { Command } from 'commander'
import { forgetDevice, listDevices } from '../catalogue/devices.ts'
import { deviceName, isForgotten } from '../ingest/health/problems.ts'
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

async function run({ db }: Session, device: string | undefined, asJson: boolean): Promise<number> {
  const now = new Date()
  if (device === undefined) {
    const devices = (await listDevices(db, MAX_LISTED, now)).filter((one) => !isForgotten(one))
    const names = devices.map(({ deviceId }) => deviceId)
    if (asJson) console.log(JSON.stringify({ devices: names }))
    else console.log(names.length === 0 ? 'There is no phone to forget.' : names.map(nameToType).join('\n'))
    return DONE
  }
  await forgetDevice(db, device, now)
  if (asJson) console.log(JSON.stringify({ forgotten: device }))
  else console.log(`${deviceName(device)} is not waited for any more, until it is heard of again. Its photos stay.`)
  return DONE
}

function nameToType(deviceId: string): string {
  return deviceId === 'unknown' ? 'unknown' : deviceName(deviceId)
}
