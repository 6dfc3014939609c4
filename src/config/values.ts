import { realpathSync } from 'node:fs'
import { isIP } from 'node:net'
import { homedir } from 'node:os'
import { isAbsolute, resolve } from 'node:path'
import { domainToASCII } from 'node:url'
import { isAtHome, type Network, parseNetwork, tooLarge } from '../base/addresses.ts'
import { hasErrno } from '../errors.ts'

/**
 * Thrown for a text that a setting can't hold. The message says what is wrong with it where that needs saying, such as
 * which item of a list; it is empty where the setting's own description says enough.
 */
export class Refusal extends Error {}

/** Where a text comes from, for the values that depend on it. */
export interface Surroundings {
  /** The folder that relative paths start from; absolute. */
  readonly cwd: string
  /** The folder that `~` stands for; absolute. */
  readonly home: string
}

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

const MEGABYTE = 1024 ** 2

export function port(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65535) throw new Refusal()
  return Number(text)
}

/** An IP address or a host name to listen on; brackets around an IPv6 address are dropped. */
export function listenAddress(text: string): string {
  const address = text.replace(/^\[(.+)\]$/, '$1')
  if (isIP(address) !== 0) return address
  // Four numbers that are no address, such as 192.168.1.300, would go to the resolver as a name.
  if (!isHostName(text) || /^[\d.]+$/.test(text)) throw new Refusal()
  return text
}

/** An absolute path: relative ones start at the working directory, and a leading `~` is the home folder. */
export function folder(text: string, { cwd, home }: Surroundings): string {
  const [, user, rest] = /^~([^/\\]*)[/\\]?(.*)$/s.exec(text) ?? []
  if (user === undefined || rest === undefined) return resolve(cwd, text)
  if (user !== '') throw new Refusal(`write the path of ~${user} in full; a name that starts with ~ is ./~${user}`)
  return resolve(home, rest)
}

/** Absolute paths, each another one. They may have spaces; a comma in one is written `\,`. */
export function folders(text: string, surroundings: Surroundings): readonly string[] {
  const names = text.split(/(?<!\\),/).map((item) => item.trim().replaceAll('\\,', ','))
  if (names.includes('')) throw new Refusal('there is nothing between two commas')
  const paths = names.map((name) => folder(name, surroundings))
  const twice = paths.find((path, index) => paths.indexOf(path) !== index)
  if (twice !== undefined) throw new Refusal(`"${twice}" is named twice`)
  return paths
}

/** A number of megabytes (1024²), as whole bytes. */
export function megabytes(text: string): number {
  if (!/^\d+(\.\d+)?$/.test(text)) throw new Refusal()
  const bytes = Math.round(Number(text) * MEGABYTE)
  if (!Number.isSafeInteger(bytes)) throw new Refusal('it is larger than any drive')
  return bytes
}

export function positiveMegabytes(text: string): number {
  const bytes = megabytes(text)
  if (bytes === 0) throw new Refusal('leave it unset for no limit')
  return bytes
}

const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** A time such as `30d`, `12h`, `90m` or `45s`, above 0, in milliseconds. */
export function duration(text: string): number {
  const [, count, unit] = /^(\d+(?:\.\d+)?)([smhd])$/.exec(text) ?? []
  const ms = Number(count) * (UNIT_MS[unit as keyof typeof UNIT_MS] ?? Number.NaN)
  if (!(ms > 0 && ms <= 3650 * UNIT_MS.d)) throw new Refusal()
  return ms
}

export function days(text: string): number {
  if (!/^\d+(\.\d+)?$/.test(text) || Number(text) === 0 || Number(text) > 3650) throw new Refusal()
  return Number(text)
}

export function yesOrNo(text: string): boolean {
  if (/^(true|yes|on|1)$/i.test(text)) return true
  if (/^(false|no|off|0)$/i.test(text)) return false
  throw new Refusal()
}

/**
 * Where to send word: `http(s)://…` gets JSON, `ntfy://host/topic` and `ntfys://host/topic` (over TLS) are topics of an
 * ntfy server.
 */
export function receivers(text: string): readonly string[] {
  return items(text).map((item) => {
    if (!/^(https?|ntfys?):\/\/[^/?#]+/i.test(item) || !URL.canParse(item)) {
      throw new Refusal('one of them is not; it is not shown, since it may be secret')
    }
    if (/^ntfys?:/i.test(item) && !/^\w+:\/\/[^/?#]+\/[\w-]+$/.test(item)) {
      throw new Refusal('an ntfy address ends in the name of its topic')
    }
    return item
  })
}

/** An address that is asked for over HTTP. It may be secret, so a refusal does not show it. */
export function webAddress(text: string): string {
  if (!/^https?:\/\/[^/?#\s]+\S*$/i.test(text) || !URL.canParse(text)) throw new Refusal()
  return text
}

const TOKEN_LENGTH = 20

/** A secret that can travel in an HTTP header, and that nobody guesses. */
export function token(text: string): string {
  if (!/^[\x21-\x7e]+$/.test(text)) throw new Refusal()
  if (text.length < TOKEN_LENGTH) throw new Refusal('a shorter one can be guessed; make one with: openssl rand -hex 32')
  return text
}

const DATABASE_URL = /^([a-z0-9]+)(\+[a-z0-9_]+)?:\/\/(?:([^:/?#@]*)(?::([^?]*|.*))?@)?(.*)$/is

/**
 * A PostgreSQL address, as `postgresql://…` whatever driver SQLAlchemy was told to use. User and password are encoded
 * anew: SQLAlchemy takes them with characters such as `#` and `/` in them, which end a URL's host elsewhere.
 */
export function databaseUrl(text: string): string {
  const [, scheme, , user, password, rest] = DATABASE_URL.exec(text) ?? []
  if (!/^postgres(ql)?$/i.test(scheme ?? '') || rest === undefined) throw new Refusal()
  if (user === undefined) return parsed(`postgresql://${rest}`)

  const credentials = [user, password].filter((part) => part !== undefined).map(encodeAnew)
  return parsed(`postgresql://${credentials.join(':')}@${rest}`)
}

function encodeAnew(text: string): string {
  try {
    return encodeURIComponent(decodeURIComponent(text))
  } catch {
    // A per cent sign that encodes nothing stands for itself.
    return encodeURIComponent(text)
  }
}

/** `user@/name` is a socket's address for PostgreSQL, but no URL. */
function withHost(url: string): string {
  return url.replace(/^(postgresql:\/\/(?:[^/?#]*@)?)(?=[/?#]|$)/, '$1socket')
}

/** Says which database a normalised `DATABASE_URL` means, without user and password. */
export function describeDatabaseUrl(url: string): string {
  const { hostname, pathname } = new URL(withHost(url))
  const name = pathname.slice(1)
  return `${name === '' ? 'the default database' : name} on ${hostname}`
}

function parsed(url: string): string {
  if (!URL.canParse(withHost(url))) throw new Refusal('its host or port is not valid')
  // Without it the driver takes `sslmode=require` for `verify-full`, and a server that psycopg2 reached is out of
  // reach.
  return /[?&]sslmode=/.test(url) && !/[?&]uselibpqcompat=/.test(url) ? `${url}&uselibpqcompat=true` : url
}

/** `text` in quotes without any password that it may hold; described where there is no telling where that lies. */
export function withoutPassword(text: string): string {
  const [, scheme, driver = '', user, password, rest = text] = DATABASE_URL.exec(text) ?? []
  const shown = rest.replace(/([?&][^=&]*(?:pass|pwd)[^=&]*=)[^&]*/gi, '$1***')
  if (/@|(pass|pwd)\w*\s*=(?!\*\*\*)/i.test(shown)) return hidden(text)

  if (scheme === undefined) return JSON.stringify(shown)
  const credentials = user === undefined ? '' : `${user}${password === undefined ? '' : ':***'}@`
  return JSON.stringify(`${scheme}${driver}://${credentials}${shown}`)
}

/** Stands for a secret in a message. */
export function hidden(text: string): string {
  return `something of ${text.length} characters (not shown, since it is secret)`
}

/** IP addresses and CIDRs of reverse proxies. Those of half the internet are refused: everybody would be the proxy. */
export function proxies(text: string): readonly string[] {
  const networks = networksIn(text)
  const large = tooLarge([...networks.values()])
  const [first] = namesOf(networks, large)
  if (first !== undefined) {
    const what = large.length === 1 ? `"${first}" is` : `"${first}" and the others together are`
    throw new Refusal(`${what} too large a part of the internet: anybody there could say that he is at home`)
  }
  return [...networks.keys()]
}

/** IP addresses and CIDRs within the home network. */
export function homeNetworks(text: string): readonly string[] {
  const networks = networksIn(text)
  const foreign = [...networks.values()].filter((network) => !isAtHome(network))
  const [first] = namesOf(networks, foreign)
  if (first !== undefined) {
    throw new Refusal(`"${first}" is not within loopback, private, link-local or unique-local addresses`)
  }
  return [...networks.keys()]
}

function networksIn(text: string): Map<string, Network> {
  return new Map(
    items(text).map((item) => {
      const network = item.includes('%') ? undefined : parseNetwork(item)
      if (network === undefined) throw new Refusal(`"${item}" is neither`)
      return [item, network] as const
    }),
  )
}

function namesOf(networks: ReadonlyMap<string, Network>, some: readonly Network[]): string[] {
  return [...networks].filter(([, network]) => some.includes(network)).map(([name]) => name)
}

/** Host names as browsers send them: lower case, ASCII, no dot at the end. */
export function hostNames(text: string): readonly string[] {
  return items(text).map((item) => {
    const name = domainToASCII(item.replace(/\.$/, ''))
    if (!isHostName(name)) throw new Refusal(`"${item}" is not one`)
    return name
  })
}

/** Web origins as browsers send them: lower case, without the scheme's usual port. */
export function origins(text: string): readonly string[] {
  return items(text).map((item) => {
    if (item === '*') throw new Refusal('"*" would let every web page read the photos')
    if (!/^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@\\]+$/i.test(item) || !URL.canParse(item)) {
      throw new Refusal(`"${item}" is not one`)
    }
    const { protocol, host, origin } = new URL(item)
    // Only the web's own schemes have an origin for the URL standard; apps' pages send theirs in the same form.
    return origin === 'null' ? `${protocol}//${host}` : origin
  })
}

/**
 * An IANA time zone, in the spelling of its database. POSIX lets `TZ` name the zone's file, too, often as
 * `:/etc/localtime`; a link tells which zone that is.
 */
export function timeZone(text: string): string {
  const name = text.replace(/^:/, '')
  try {
    const zone = isAbsolute(name) ? realpathSync(name).replace(/^.*\/zoneinfo\//, '') : name
    return new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone
  } catch (error) {
    if (error instanceof RangeError || hasErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP')) throw new Refusal()
    throw error
  }
}

/** A mask of modes. */
export function umask(text: string): number {
  if (!/^0?0[0-7]{2}$/.test(text)) throw new Refusal()
  return Number.parseInt(text, 8)
}

export function logLevel(text: string): LogLevel {
  const level = LOG_LEVELS.find((candidate) => candidate === text.toLowerCase())
  if (level === undefined) throw new Refusal()
  return level
}

/** What `~` stands for to the person whose environment this is. */
export function homeFolder(env: Readonly<Record<string, string | undefined>>): string {
  return env['HOME'] || homedir()
}

function items(text: string): string[] {
  return text.split(/[\s,]+/).filter((item) => item !== '')
}

function isHostName(text: string): boolean {
  return (
    text.length <= 253 &&
    /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/i.test(text)
  )
}
