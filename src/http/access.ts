import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { AppError } from '../errors.ts'
import { type Address, isHome, isIn, parseAddress, parseNetwork } from './addresses.ts'
import { createSiteJudge, isPreflight } from './cross-site.ts'
import { type Forwarding, readForwarding } from './forwarded.ts'
import { createHostJudge, type OwnNames, parseHost } from './host-names.ts'

export { corsHeaders, isPreflight } from './cross-site.ts'

/** The settings that say who may talk to the server. */
export interface AccessRules {
  /** Lets requests from outside the home network in; undefined or empty: none. */
  accessToken: string | undefined
  /** Addresses and CIDR networks of reverse proxies. */
  trustedProxies: readonly string[]
  /** Host names to answer to besides those of a home network; `*.example.com` and `.example.com` are wildcards. */
  allowedHosts: readonly string[]
  /** What this machine is called at this moment; without it, names in its own domain have to be allowed. */
  ownNames?: () => OwnNames
  /** Origins of web pages that may call the server, such as `https://photos.example.com`. */
  corsOrigins: readonly string[]
}

/** What is judged of a request. */
export interface AccessRequest {
  remoteAddress: string | undefined
  headers: IncomingHttpHeaders
  /** Names and values by turns, as Node has them: `headers` doesn't show that there were two `Host`. */
  rawHeaders?: readonly string[]
  method: string
  /** The request's target; a query is ignored. */
  path: string
}

/** A request that may pass. */
export interface Access {
  /** The client's address in its shortest spelling, without a zone: the real one behind trusted proxies. */
  clientAddress: string
  /** The listed origin that it comes from: the answer carries `corsHeaders`, and a preflight gets nothing else. */
  cors: { origin: string } | undefined
}

/**
 * Returns the guard that judges each request before anything else looks at it. It throws
 * - `unauthorized`: from outside the home network without the access token. A preflight of a listed origin passes if
 *   there is a token: browsers never send one with it, and it carries nothing else.
 * - `unknown_host`: sent to a name that isn't ours, which is how DNS rebinding shows.
 * - `cross_site`: from a foreign page, except to `/ping`.
 *
 * They are judged in this order: who has no business here learns nothing about the rest. Throws a `TypeError` at once
 * if one of `trustedProxies` is neither an address nor a network.
 */
export function createAccessGuard(rules: AccessRules): (request: AccessRequest) => Access {
  const trusted = rules.trustedProxies.map((text) => {
    const network = parseNetwork(text)
    if (network === undefined) throw new TypeError(`${text} is neither an IP address nor a CIDR network`)
    return network
  })
  const isTrusted = (address: Address | undefined): boolean => address !== undefined && isIn(trusted, address)
  const isToken = createTokenJudge(rules.accessToken)
  const isOurHost = createHostJudge(rules.allowedHosts, rules.ownNames)
  const siteOf = createSiteJudge(rules.corsOrigins)

  return (request) => {
    const { headers } = request
    const remote = parseAddress(request.remoteAddress ?? '')
    const behindProxy = isTrusted(remote)
    const forwarding = readForwarding(headers)
    const client = judgeClient(remote, forwarding, isTrusted)

    const sentTo = headers.host ?? ''
    const publicHost = (behindProxy ? forwarding.hosts[0] : undefined) ?? sentTo
    const site = siteOf(headers, `${behindProxy ? forwarding.scheme : 'http'}://${publicHost}`)

    const asksFirst = Boolean(rules.accessToken) && site.kind === 'listed' && isPreflight(request.method, headers)
    if (!client.home && !isToken(headers.authorization) && !asksFirst) {
      throw new AppError(
        'unauthorized',
        'This server is open to its home network only; from elsewhere send its access token as "Authorization: Bearer <token>".',
      )
    }

    if (hasTwoHosts(request.rawHeaders)) {
      throw new AppError('unknown_host', 'This request has two Host headers; expected one.')
    }
    for (const host of [sentTo, ...targetHost(request.path), ...(behindProxy ? forwarding.hosts : [])]) {
      const name = parseHost(host)
      if (name !== undefined && isOurHost(name)) continue
      throw new AppError(
        'unknown_host',
        `This server does not answer to the host ${JSON.stringify(host.slice(0, 255))}: use its IP address or a name of the home network, or add the name to ALLOWED_HOSTS.`,
      )
    }

    if (site.kind === 'foreign' && request.path.split('?', 1)[0] !== '/ping') {
      throw new AppError(
        'cross_site',
        'This request comes from a page of another site; add the origin of that page to CORS_ORIGINS to allow it.',
      )
    }
    return { clientAddress: client.address, cors: site.kind === 'listed' ? { origin: site.origin } : undefined }
  }
}

/**
 * Where a request comes from. Headers that name a client count only from a trusted proxy; from anyone else they show
 * that an unknown proxy lets the world in. A proxy may pass on headers that it doesn't write itself, so each of them
 * has to name a client at home: in its chain, the first from our end that isn't a trusted proxy.
 */
function judgeClient(
  remote: Address | undefined,
  { chains }: Forwarding,
  isTrusted: (address: Address | undefined) => boolean,
): { address: string; home: boolean } {
  const toClient = (address: Address | undefined) => ({
    address: address?.toString() ?? 'unknown',
    home: address !== undefined && isHome(address),
  })
  if (chains.length === 0) return toClient(remote)
  if (!isTrusted(remote)) return { ...toClient(remote), home: false }
  const clients = chains.map((chain) => {
    const nearest = chain.findLastIndex((address) => !isTrusted(address))
    return toClient(chain[Math.max(nearest, 0)])
  })
  return clients.find(({ home }) => !home) ?? clients[0] ?? toClient(remote)
}

/** The judge of `Authorization` headers. Digests make the comparison take the same time whatever was sent. */
function createTokenJudge(token: string | undefined): (authorization: string | undefined) => boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  const expected = token ? digest(token) : undefined
  return (authorization) => {
    const sent = /^bearer +(\S+) *$/i.exec(authorization ?? '')?.[1]
    return expected !== undefined && sent !== undefined && timingSafeEqual(digest(sent), expected)
  }
}

/** The host in a target such as `http://host/path`, which overrides `Host` (RFC 9112 section 3.2.2). */
function targetHost(target: string): string[] {
  return target.startsWith('/') || target === '*' ? [] : [/^https?:\/\/([^/?#]*)/i.exec(target)?.[1] ?? '']
}

function hasTwoHosts(rawHeaders: readonly string[] = []): boolean {
  return rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'host').length > 1
}
