import { createRequire } from 'node:module'
import { isIPv4, isIPv6 } from 'node:net'

const HOME_SUFFIXES = ['.local', '.lan', '.home', '.home.arpa', '.internal', '.localdomain', '.fritz.box', '.ts.net']

const require = createRequire(import.meta.url)

/** What the machine that the server runs on is called. */
export interface OwnNames {
  /** Its host name, perhaps with a domain. */
  machine: string
  /** The domains in which it looks for names without a dot: its network's own, mostly. */
  searched: readonly string[]
}

/**
 * The host that a `Host` header names, without its port: an IPv4 address, an IPv6 address in brackets, or a name in
 * lower case without a dot at its end. Undefined for what is none of these, such as a header that is empty or holds a
 * user name, or a number that only some programs take for an address.
 */
export function parseHost(header: string): string | undefined {
  const [, bracketed, plain] = /^(?:\[([^\]]*)\]|([\w.-]+))(?::\d{0,5})?$/.exec(header.trim()) ?? []
  if (bracketed !== undefined) return isIPv6(bracketed) ? `[${bracketed.toLowerCase()}]` : undefined
  if (plain === undefined || isIPv4(plain)) return plain
  const name = plain.toLowerCase().replace(/\.$/, '')
  const labels = name.split('.')
  if (name.length > 253 || labels.some((label) => label === '' || label.length > 63)) return undefined
  return /^(\d+|0x[\da-f]*)$/.test(labels.at(-1) ?? '') ? undefined : name
}

/**
 * Returns the judge of hosts as `parseHost` returns them: a page on the web can make its own name lead to this server
 * (DNS rebinding), but not one of those that only a home network resolves. `allowed` adds names: exact ones,
 * `*.example.com` for all below a name, `.example.com` for that name too. `ownNames` is asked when nothing else tells:
 * the machine's own name counts, and names below the domains that it searches or lies in, unless anybody may have a
 * name there (`com`, `duckdns.org`).
 */
export function createHostJudge(allowed: readonly string[], ownNames?: () => OwnNames): (host: string) => boolean {
  const exact = new Set<string>()
  const suffixes = [...HOME_SUFFIXES]
  for (const entry of allowed) {
    const [, wildcard, rest = ''] = /^(\*?\.)?(.*)$/.exec(entry.trim()) ?? []
    const name = parseHost(rest)
    if (name === undefined) continue
    if (wildcard !== undefined) suffixes.push(`.${name}`)
    if (wildcard !== '*.') exact.add(name)
  }
  return (host) =>
    host.startsWith('[') ||
    isIPv4(host) ||
    !host.includes('.') ||
    exact.has(host) ||
    suffixes.some((suffix) => host.endsWith(suffix)) ||
    (ownNames !== undefined && isOwn(host, ownNames()))
}

function isOwn(host: string, { machine, searched }: OwnNames): boolean {
  const name = parseHost(machine)
  if (name?.includes('.') && host === name) return true
  const parent = name?.split('.').slice(1).join('.') ?? ''
  return [parent, ...searched].some((domain) => {
    const own = parseHost(domain)
    return own !== undefined && !isIPv4(own) && host.endsWith(`.${own}`) && !isPublic(own)
  })
}

/**
 * Whether strangers can have names directly below `domain`: it is on the Public Suffix List, where dynamic DNS is,
 * too. A top-level domain that is not listed is one that the internet does not have.
 */
function isPublic(domain: string): boolean {
  // It takes 12 MB, and most households never need it.
  const { parse }: typeof import('tldts') = require('tldts')
  const { publicSuffix, isIcann, isPrivate } = parse(`x.${domain}`, { allowPrivateDomains: true })
  return publicSuffix !== domain && publicSuffix !== `x.${domain}` ? false : isIcann === true || isPrivate === true
}
