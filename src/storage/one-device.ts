import { realpath, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { hasErrno } from '../errors.ts'
import { io } from './io.ts'

/**
 * Tells whether two folders lie on one physical device, as far as the system tells: in one file system or, on Linux, in
 * two partitions of one disk. What protects against the loss of a disk lies on another one. System errors pass.
 */
export async function areOnOneDevice(folder: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all([io.stat(folder), io.stat(other)])
  if (a.dev === b.dev) return true
  const disk = await diskOf(a.dev)
  return disk !== undefined && disk === (await diskOf(b.dev))
}

/** Whether a folder lies in the file system that the system itself is on. System errors pass. */
export async function isOnSystemDisk(folder: string): Promise<boolean> {
  return process.platform !== 'win32' && (await io.stat(folder)).dev === (await io.stat('/')).dev
}

/**
 * The disk with the device number `dev`, or with that partition, as a path in sysfs; `undefined` where there is none.
 */
async function diskOf(dev: bigint): Promise<string | undefined> {
  const major = (dev >> 8n) & 0xfffn
  const minor = (dev & 0xffn) | ((dev >> 12n) & 0xfff00n)
  try {
    const device = await realpath(`/sys/dev/block/${major}:${minor}`)
    // A partition lies in the folder of its disk.
    return (await isFile(`${device}/partition`)) ? dirname(device) : device
  } catch (error) {
    if (hasErrno(error)) return undefined
    throw error
  }
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile()
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return false
    throw error
  }
}
