import { BlockList, isIP, isIPv4 } from 'node:net'
import parseForwarded from 'forwarded-parse'
import proxyAddr from 'proxy-addr'
import { AppError } from '../../../src/errors.ts'
import { createAccessGuard } from '../../../src/http/access/access.ts'
import { check, type Target } from '../target.ts'

const TRUSTED = ['127.0.0.1', '192.168.1.2', '10.1.0.0/16', 'fd00:1::/32', '203.0.113.80']
const NAMED = ['x-forwarded-for', 'forwarded', 'x-real-ip'] as const

const guard = createAccessGuard({ accessToken: undefined, trustedProxies: TRUSTED, allowedHosts: [], corsOrigins: [] })
const trusted = networks(...TRUSTED)
/** RFC 1122, 1918, 3927, 4193, 4291: by Node's own list, where ours uses ipaddr.js. */
const home = networks(
  ...['127.0.0.0/8', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '169.254.0.0/16', '::1', 'fe80::/10', 'fc00::/7'],
)

/**
 * Requests that say whom they are forwarded for: the first line is the peer's address, the others are headers. Whoever
 * gets in without a token is at home, and so is each client that a header names, as proxy-addr, forwarded-parse and
 * Node's own lists of addresses find them.
 */
export const forwarded: Target = {
  name: 'forwarded',
  seeds: [
    '192.168.1.20',
    '192.168.1.2\nx-forwarded-for: 203.0.113.7, 192.168.1.30',
    '127.0.0.1\nx-forwarded-for: 192.168.1.9:4711\nx-real-ip: 192.168.1.9',
    '::ffff:10.1.2.3\nforwarded: for=192.168.1.9;proto=https;host="pi.local", for="[fd00:1::5]:80"',
    '10.1.0.1\nforwarded: For="[2001:db8::1]", for=_hidden;by=unknown',
    'fd00:1::2\nx-forwarded-for: fe80::1%eth0, 203.0.113.80',
    '203.0.113.80\nx-forwarded-for: 10.0.0.1\nforwarded: for=10.0.0.1',
    '192.168.1.2\nx-forwarded-for: ::ffff:192.168.1.7\nx-forwarded-host: pi.local\nx-forwarded-proto: https',
    '203.0.113.7',
  ].map((text) => Buffer.from(text)),
  tokens: [
    ...[
      'x-forwarded-for: ',
      '\nforwarded: ',
      '\nx-real-ip: ',
      '\nx-forwarded-host: ',
      '\nvia: 1.1 x',
      '\ncf-connecting-ip: ',
    ],
    ...[
      '192.168.1.9',
      '192.168.1.2',
      '203.0.113.7',
      '203.0.113.80',
      '8.8.8.8',
      '::1',
      '::ffff:',
      '[fd00:1::5]',
      '127.1',
    ],
    ...['0x7f.0.0.1', 'fe80::1%eth0', '100.64.0.1', '2002:c0a8:105::1', '64:ff9b::', 'unknown', '_x', 'localhost'],
    ...[
      ', ',
      ',',
      ';',
      'for=',
      'For="',
      '";',
      '\\"',
      '"',
      ':80',
      ';host=',
      ';by=',
      ';proto=https',
      ' ',
      '\t',
      '%',
      '\0',
    ],
  ],
  inTests: 6000,
  run(input) {
    const [remoteAddress = '', ...lines] = input.toString('latin1').split('\n')
    const headers = readHeaders(lines)
    const entered = enter(remoteAddress, headers)
    if (entered === undefined) return
    const named = NAMED.filter((name) => headers[name] !== undefined)
    if (named.length === 0) {
      check(isHome(remoteAddress), 'A stranger got in', remoteAddress)
      return
    }
    check(isTrusted(remoteAddress), 'Who may not speak for others got in with a header that does', remoteAddress)
    for (const name of named) {
      const clients = clientsIn(name, headers[name] ?? '', remoteAddress)
      check(clients.some(isHome), `By ${name} the client is a stranger, and got in`, clients)
    }
    check(isHome(entered) || isTrusted(entered), 'The address that is noted is a stranger’s', entered)
  },
}

function readHeaders(lines: readonly string[]): Record<string, string> {
  // Node lower-cases names and joins what comes twice.
  const headers: Record<string, string> = { host: 'pi.local' }
  for (const line of lines) {
    const [, name, value] = /^([\w-]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? []
    if (name === undefined || value === undefined || name === 'host') continue
    const known = headers[name.toLowerCase()]
    headers[name.toLowerCase()] = known === undefined ? value : `${known}, ${value}`
  }
  return headers
}

/** The client's address, if it gets in. */
function enter(remoteAddress: string, headers: Record<string, string>): string | undefined {
  try {
    return guard({ remoteAddress, headers, method: 'GET', path: '/storage/status' }).clientAddress
  } catch (error) {
    if (error instanceof AppError) return undefined
    throw error
  }
}

/** Who the client may be by a header: one, but where readers of the header may differ. */
function clientsIn(name: (typeof NAMED)[number], value: string, remoteAddress: string): string[] {
  if (name === 'x-real-ip') return [value]
  if (name === 'x-forwarded-for') return [clientBehind(value, remoteAddress)]
  try {
    const addresses = parseForwarded(value).map((hop) => hop['for'] ?? 'unknown')
    return [clientBehind(addresses.join(','), remoteAddress)]
  } catch {
    // It wants ports and IPv6 addresses in quotes, as RFC 7239 does. We know what is meant without.
    return value.match(/(?<=for\s*=\s*"?)[^",;]*/gi) ?? []
  }
}

/** The client by proxy-addr: from our end the first that is not trusted, or else the last of all. */
function clientBehind(list: string, remoteAddress: string): string {
  const request = { headers: { 'x-forwarded-for': list }, socket: { remoteAddress }, connection: { remoteAddress } }
  return proxyAddr(request as unknown as Parameters<typeof proxyAddr>[0], (address) => isTrusted(address))
}

function isHome(address: string): boolean {
  return isInside(home, address)
}

function isTrusted(address: string): boolean {
  return isInside(trusted, address)
}

function isInside(list: BlockList, text: string): boolean {
  // With a port, brackets or a zone.
  const [, bracketed, plain = ''] = /^\s*(?:\[([^\]]*)\](?::\d{1,5})?|([^\s[\]]*?))\s*$/.exec(text) ?? []
  const address = (bracketed ?? plain.replace(/^([\d.]+):\d{1,5}$/, '$1')).replace(/%.*$/, '')
  if (isIP(address) === 0) return false
  return list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')
}

function networks(...texts: readonly string[]): BlockList {
  const list = new BlockList()
  for (const text of texts) {
    const [address = '', bits] = text.split('/')
    const kind = isIPv4(address) ? 'ipv4' : 'ipv6'
    list.addSubnet(address, bits === undefined ? (kind === 'ipv4' ? 32 : 128) : Number(bits), kind)
  }
  return list
}
