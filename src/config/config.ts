/*
 * config/: Every setting: its name, its default, what it may be. Nothing else reads the environment.
 */

import { join, relative, sep } from 'node:path'
import { readDotEnv } from './dot-env.ts'
import { findMisspelt, type Misspelt } from './misspelt.ts'
import { SETTINGS, type Setting, type WithDefault } from './settings.ts'
import { homeFolder, type LogLevel, Refusal } from './values.ts'

/** What the server is told to do, complete and valid. */
export interface Config {
  readonly port: number
  /** An IP address or a host name; undefined: all addresses, IPv4 and IPv6. */
  readonly host: string | undefined
  /** Absolute. */
  readonly libraryFolder: string
  /** Absolute. */
  readonly dataDir: string
  /** `postgresql://…`; undefined: the embedded database. */
  readonly databaseUrl: string | undefined
  /** Bytes; undefined: no limit. */
  readonly maxFileSize: number | undefined
  /** Bytes. */
  readonly minFreeSpace: number
  /** Absolute; each gets a mirror. */
  readonly mirrorFolders: readonly string[]
  /** Milliseconds. */
  readonly verifyEvery: number
  readonly autoRebuild: boolean
  readonly quietDays: number
  /** `http(s)://…`, `ntfy(s)://…` */
  readonly notifyUrls: readonly string[]
  readonly heartbeatUrl: string | undefined
  readonly accessToken: string | undefined
  /** IP addresses and CIDRs. */
  readonly trustedProxies: readonly string[]
  /** IP addresses and CIDRs; empty: all that are at home. */
  readonly homeNetworks: readonly string[]
  /** Lower case. */
  readonly allowedHosts: readonly string[]
  /** In the spelling of an `Origin` header. */
  readonly corsOrigins: readonly string[]
  /** A name of the IANA database. */
  readonly timeZone: string
  /** For `process.umask`. */
  readonly umask: number
  readonly logLevel: LogLevel
}

/** Settings can't be used as they are. The message has one line for each of `problems`. */
export class ConfigError extends Error {
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.name = 'ConfigError'
    this.problems = problems
  }
}

/** What the environment holds: names to texts. */
export type Environment = Readonly<Record<string, string | undefined>>

/**
 * Reads the settings from `env`; an empty text counts as unset, and relative paths start at `cwd` (absolute). Throws
 * one `ConfigError` with every problem; no message holds a secret.
 */
export function loadConfig(env: Environment, cwd: string): Config {
  const { config, problems } = evaluate(env, cwd)
  if (problems.length > 0) throw new ConfigError(problems)
  return config
}

/**
 * Returns `env` completed from `.env` in `cwd`, where there is one. What `env` holds wins, unless it is empty. Throws
 * one `ConfigError` when `.env` can't be read as a whole, which also has the problems of what could be read.
 */
export function readEnvironment(cwd: string, env: Environment): Environment {
  const { values, problems } = readDotEnv(join(cwd, '.env'))
  const set = Object.entries(env).filter(([, text]) => text !== undefined && text.trim() !== '')
  const merged = { ...values, ...Object.fromEntries(set) }
  if (problems.length > 0) throw new ConfigError([...problems, ...evaluate(merged, cwd).problems])
  return merged
}

/** What `.env` in `cwd` sets that is no setting and looks like one: it changes nothing, which nobody would notice. */
export function misspeltSettings(cwd: string): Misspelt[] {
  const { values } = readDotEnv(join(cwd, '.env'))
  return findMisspelt(
    Object.keys(values),
    Object.values(SETTINGS).map(({ name }) => name),
  )
}

function evaluate(env: Environment, cwd: string): { config: Config; problems: readonly string[] } {
  const problems: string[] = []
  const surroundings = { cwd, home: homeFolder(env) }

  function read<T>(setting: WithDefault<T>): T
  function read<T>(setting: Setting<T>): T | undefined
  function read<T>(setting: Setting<T>): T | undefined {
    const text = env[setting.name]?.trim() ?? ''
    if (text !== '') {
      try {
        return setting.parse(text, surroundings)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        const held = setting.show?.(text) ?? JSON.stringify(text)
        const because = error.message === '' ? '' : ` (${error.message})`
        problems.push(`${setting.name} is ${held} but must be ${setting.wanted}${because}.`)
      }
    }
    return setting.default === undefined ? undefined : setting.parse(setting.default, surroundings)
  }

  const databaseUrl = read(SETTINGS.databaseUrl)
  const config = Object.freeze({
    port: read(SETTINGS.port),
    host: read(SETTINGS.host),
    libraryFolder: read(SETTINGS.libraryFolder),
    dataDir: read(SETTINGS.dataDir),
    databaseUrl,
    maxFileSize: read(SETTINGS.maxFileSize),
    minFreeSpace: read(SETTINGS.minFreeSpace),
    mirrorFolders: Object.freeze(read(SETTINGS.mirrorFolders) ?? []),
    verifyEvery: read(SETTINGS.verifyEvery),
    autoRebuild: read(SETTINGS.autoRebuild) ?? databaseUrl === undefined,
    quietDays: read(SETTINGS.quietDays),
    notifyUrls: Object.freeze(read(SETTINGS.notifyUrls) ?? []),
    heartbeatUrl: read(SETTINGS.heartbeatUrl),
    accessToken: read(SETTINGS.accessToken),
    trustedProxies: Object.freeze(read(SETTINGS.trustedProxies) ?? []),
    homeNetworks: Object.freeze(read(SETTINGS.homeNetworks) ?? []),
    allowedHosts: Object.freeze(read(SETTINGS.allowedHosts) ?? []),
    corsOrigins: Object.freeze(read(SETTINGS.corsOrigins) ?? []),
    timeZone: read(SETTINGS.timeZone) ?? new Intl.DateTimeFormat().resolvedOptions().timeZone,
    umask: read(SETTINGS.umask),
    logLevel: read(SETTINGS.logLevel),
  })

  const database = join(config.dataDir, 'postgres')
  if (isWithin(config.libraryFolder, database)) {
    problems.push(
      `UPLOAD_FOLDER is "${config.libraryFolder}" but must be a folder outside "${database}", which DATA_DIR gives to the embedded database.`,
    )
  }
  const { libraryFolder, mirrorFolders } = config
  const overlap = (one: string, other: string) => isWithin(one, other) || isWithin(other, one)
  for (const [index, folder] of mirrorFolders.entries()) {
    if (overlap(folder, libraryFolder)) {
      problems.push(
        `MIRROR_FOLDER is "${folder}" but must be a folder of its own, neither within UPLOAD_FOLDER ("${libraryFolder}") nor around it.`,
      )
    }
    const other = mirrorFolders.slice(0, index).find((earlier) => overlap(earlier, folder))
    if (other !== undefined) {
      problems.push(
        `MIRROR_FOLDER names "${other}" and "${folder}", but each second copy must have a folder of its own, not within another.`,
      )
    }
  }
  return { config, problems }
}

function isWithin(path: string, parent: string): boolean {
  const way = relative(parent, path)
  return way === '' || (way !== '..' && !way.startsWith(`..${sep}`) && way !== path)
}
