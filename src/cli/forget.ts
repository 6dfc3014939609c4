import { Command } from 'commander'
import { DEVICES_WATCHED } from '../base/budgets.ts'
import { print, printJson } from '../base/print.ts'
import { printable } from '../base/shown.ts'
import { listRaised } from '../catalogue/alerts.ts'
import { forgetDevice, listDevices } from '../catalogue/devices.ts'
import { deviceName, isForgotten, quietDevices } from '../health/problems.ts'
import { COULD_NOT_RUN, type CommandContext, runCommand } from './context.ts'
import type { Session } from './session.ts'

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
      runCommand(context, (session) =>
        further ? forgetFurther(session, json ?? false) : run(session, device, json ?? false),
      ),
    )
}

async function run({ db }: Session, typed: string | undefined, asJson: boolean): Promise<number> {
  const now = new Date()
  const devices = await listDevices(db, DEVICES_WATCHED, now)
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

async function forgetFurther({ db, config }: Session, asJson: boolean): Promise<number> {
  const at = new Date()
  const raised = new Map((await listRaised(db)).map(({ key, raisedAt }) => [key, raisedAt]))
  const devices = await listDevices(db, DEVICES_WATCHED, at)
  const { further } = quietDevices({ devices, raised, at }, config)
  for (const { deviceId } of further) await forgetDevice(db, deviceId, at)
  if (asJson) printJson({ forgotten: further.map(({ deviceId }) => deviceId) })
  else print(`${further.length} devices are not waited for any more, until they are heard of again. Their photos stay.`)
  return DONE
}
