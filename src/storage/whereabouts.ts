import { dirname } from 'node:path'
import { hasErrno } from '../errors.ts'
import { io } from './io.ts'

/** Where a library lies, or lay: its folder and where the file system that holds it is mounted, as absolute paths. */
export interface Whereabouts {
  folder: string
  mountPoint: string
}

/** Says where the library in the folder `folder` (absolute), which is there, lies. System errors pass. */
export async function whereaboutsOf(folder: string): Promise<Whereabouts> {
  let mountPoint = folder
  while (!(await isMountPoint(mountPoint))) mountPoint = dirname(mountPoint)
  return { folder, mountPoint }
}

/**
 * The place above (or at) the folder `folder` where a drive belongs and nothing is mounted: /etc/fstab says so, or a
 * library was there before, as `known` says. Returns `undefined` where nothing of the kind is known. What is written
 * there would lie on the disk below, and would be out of sight as soon as the drive is mounted.
 */
export async function unmountedPlace(folder: string, known?: Whereabouts): Promise<string | undefined> {
  if (process.platform === 'win32') return undefined
  const places = new Set(await listPlaces())
  if (known?.folder === folder) places.add(known.mountPoint)
  for (let place = folder; ; place = dirname(place)) {
    if (places.has(place) && !(await isMountPoint(place))) return place
    if (place === dirname(place)) return undefined
  }
}

/** A folder that is not there is none; one that can't be asked for is taken for one. */
async function isMountPoint(path: string): Promise<boolean> {
  if (path === dirname(path)) return true
  try {
    // A service's own view of the system may mount a folder on itself: that is no other file system.
    return (await io.stat(path)).dev !== (await io.stat(dirname(path))).dev
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return false
    if (hasErrno(error)) return true
    throw error
  }
}

/** Where the system mounts file systems of their own, by fstab(5). */
async function listPlaces(): Promise<string[]> {
  let text: string
  try {
    text = await io.readFile('/etc/fstab')
  } catch (error) {
    if (hasErrno(error)) return []
    throw error
  }
  const entries = text.split('\n').map((line) => line.trim().split(/\s+/))
  return entries.flatMap(([device = '', place = '', , options = '']) =>
    device.startsWith('#') || !place.startsWith('/') || /\b(r?bind)\b/.test(options) ? [] : unescapeOctal(place),
  )
}

/** Spaces and the like are written `\040`. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)))
}
