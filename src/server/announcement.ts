import { hostname, networkInterfaces } from 'node:os'
import type { Logger } from 'pino'
import { driveUsage, type Library } from '../archive/library.ts'
import { humanSize } from '../base/human-size.ts'
import { print } from '../base/print.ts'
import type { Config } from '../config/config.ts'
import { describeDatabaseUrl } from '../config/values.ts'
import { type AppError, inFull } from '../errors.ts'
import { isOnSystemDisk } from '../storage/one-device.ts'

/** Tells a person where their photos are kept and what to type into the phone; without a terminal, the log. */
export async function announceLibrary(library: Library, config: Config, port: number, log: Logger): Promise<void> {
  const { free } = await driveUsage(library)
  const addresses = phoneAddresses(config.host, port)
  const database = databaseName(config)
  const onSystemDisk = await isOnSystemDisk(config.libraryFolder)
  if (!process.stdout.isTTY) {
    log.info(
      { library: config.libraryFolder, freeBytes: free, onSystemDisk, database, addresses, port },
      'ready for photos',
    )
    if (onSystemDisk) log.warn({ library: config.libraryFolder }, SYSTEM_DISK_HINT)
    return
  }
  print(
    '',
    '  iClood is ready for photos.',
    '',
    `  Photos     ${config.libraryFolder} (${humanSize(free)} free)`,
    ...(onSystemDisk ? [`             ${SYSTEM_DISK_HINT}`] : []),
    `  Database   ${database}`,
    '  On the phone, type one of these as the server:',
    ...addresses.map((address) => `             ${address}`),
    '',
  )
}

const SYSTEM_DISK_HINT =
  'This is the system disk. For an external drive, set UPLOAD_FOLDER to a folder on it, here or in the file .env.'

/** Says what is missing or refused, what was found instead, and what to do about it. */
export function announceTrouble(error: AppError, config: Config, log: Logger): void {
  const where =
    error.code === 'database_unavailable' ? { database: databaseName(config) } : { library: config.libraryFolder }
  const because = error.cause instanceof Error ? { because: error.cause.message } : {}
  log.warn({ code: error.code, ...where, ...because }, inFull(error))
}

/** `http://…` under each IPv4 address of the home network, and under the name that Bonjour gives this computer. */
function phoneAddresses(host: string | undefined, port: number): string[] {
  const local = `${hostname().split('.', 1)[0]}.local`
  const all = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
    .map(({ address }) => address)
  const names = host === undefined || host === '::' || host === '0.0.0.0' ? [...all, local] : [host]
  return names.map((name) => `http://${name.includes(':') ? `[${name}]` : name}:${port}`)
}

function databaseName(config: Config): string {
  if (config.databaseUrl === undefined) return `embedded, in ${config.dataDir}`
  return describeDatabaseUrl(config.databaseUrl)
}
