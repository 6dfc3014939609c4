import { isIPv4, isIPv6 } from 'node:net'

const HOME_SUFFIXES = ['.local', '.lan', '.home', '.home.arpa', '.internal', '.ts.net']

/**
 * The host that a `Host` header names, without its port: an IPv4 address, an IPv6 address in brackets, or a name in
 * lower case without a dot at its end. Undefined for what is none of these, such as a header that is empty or holds a user
 * name, or a number that only some programs take for an address.
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
 * (DNS rebinding), but not one of those that only a home network resolves. `allowed` adds names: exact ones, `*.example.com`
 * for all below a name, `.example.com` for that name too.
 */
export function createHostJudge(allowed: readonly string[]): (host: string) => boolean {
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
    suffixes.some((suffix) => host.endsWith(suffix))
}
