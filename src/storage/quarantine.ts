import { type LibraryPath, QUARANTINE_FOLDER, splitPath } from '../format/layout.ts'
import type { Drive } from './drive.ts'
import { driveError } from './drive-error.ts'
import { io } from './io.ts'
import { lookAt } from './look-at.ts'

const MAX_NAME_BYTES = 255

/**
 * Moves what lies at `path`, whatever it is, to quarantine and returns its place there, relative to the library;
 * durable. Never overwrites anything. System errors pass as `drive_error`, also `ENOENT` if nothing lies there.
 */
export async function quarantine(drive: Drive, path: LibraryPath, now: Date): Promise<string> {
  const { folder, name } = splitPath(path)
  const target = folder === '' ? QUARANTINE_FOLDER : `${QUARANTINE_FOLDER}/${folder}`
  try {
    await drive.check()
    await drive.makeOwnFolder(target)
    const place = `${target}/${await freeName(drive, target, name, now)}`
    await io.rename(drive.at(path), drive.at(place))
    // The name in its new folder first: a cut between the two leaves it in one of them at least.
    for (let made = target; made !== ''; made = splitPath(made).folder)
      await drive.touched.syncFolder(drive.touchedAt(made))
    await drive.touched.syncFolder(drive.touchedAt(folder))
    return place
  } catch (error) {
    throw driveError(error, `${path} was being moved to quarantine`)
  }
}

async function freeName(drive: Drive, folder: string, name: string, now: Date): Promise<string> {
  const time = now.toISOString().replace(/\.\d+/, '').replace(/[-:]/g, '')
  for (let number = 1; ; number++) {
    const tail = number === 1 ? `.${time}` : `.${time}-${number}`
    const free = shortened(name, MAX_NAME_BYTES - tail.length) + tail
    if ((await lookAt(drive.at(`${folder}/${free}`))) === undefined) return free
  }
}

function shortened(name: string, bytes: number): string {
  let short = name
  while (Buffer.byteLength(short) > bytes) short = [...short].slice(0, -1).join('')
  return short
}
