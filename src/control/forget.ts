import Type, { type Static } from 'typebox'
import { DEVICES_WATCHED } from '../base/budgets.ts'
import { printable } from '../base/shown.ts'
import { listRaised } from '../catalogue/alerts.ts'
import { forgetDevice, listDevices } from '../catalogue/devices.ts'
import { isForgotten, quietDevices } from '../health/problems.ts'
import type { Owner } from './owner.ts'

export const ForgetAsked = Type.Object({
  /** As a terminal shows its name. */
  device: Type.Optional(Type.String()),
  /** All of the further devices that `status` counts in one line. */
  further: Type.Optional(Type.Boolean()),
})

/** Those that are waited for, or that are not any more. */
export type Forgetting = { devices: string[] } | { forgotten: string[] }

/** Stops waiting for what is named; names what is waited for if nothing is. Throws `database_unavailable`. */
export async function forget(owner: Owner, { device, further }: Static<typeof ForgetAsked>): Promise<Forgetting> {
  const { db, config } = owner
  const at = new Date()
  const devices = await listDevices(db, DEVICES_WATCHED, at)
  if (device === undefined && !further) {
    return { devices: devices.filter((one) => !isForgotten(one)).map(({ deviceId }) => deviceId) }
  }
  const raised = new Map((await listRaised(db)).map(({ key, raisedAt }) => [key, raisedAt]))
  const forgotten = further
    ? quietDevices({ devices, raised, at }, config).further.map(({ deviceId }) => deviceId)
    : // A name that a terminal can't show is typed as it has been printed.
      [devices.find(({ deviceId }) => printable(deviceId) === device)?.deviceId ?? String(device)]
  for (const deviceId of forgotten) await forgetDevice(db, deviceId, at)
  owner.trouble()
  return { forgotten }
}
