/*
 * http/access/: Who may ask: who is at home, who has the token, and which request was made by a page of somebody
 * else's.
 */

import type { IncomingHttpHeaders } from 'node:http'
import {
  type Address,
  isHome,
  isIn,
  type Network,
  parseAddress,
  parseNetwork,
  subscriberOf,
} from '../../base/addresses.ts'
import { AppError } from '../../errors.ts'
import { createSiteJudge, isPreflight } from './cross-site.ts'
import { type Forwarding, readForwarding } from './forwarded.ts'
import { createHostJudge, type OwnNames, parseHost } from './host-names.ts'
import { TokenJudge } from './token-judge.ts'

export { corsHeaders, isPreflight } from './cross-site.ts'

/** The settings that say who may talk to the server. */
export interface AccessRules {
  /** Lets requests from outside the home network in; undefined or empty: none. */
  accessToken: string | undefined
  /** Addresses and CIDR networks of reverse proxies. */
  trustedProxies: readonly string[]
  /** CIDR networks, all of them at home: then no others count as home. Absent or empty: all that are. */
  homeNetworks?: readonly string[]
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
  /** The address of this machine that it was sent to. */
  localAddress?: string | undefined
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
  /**
   * Throws `unauthorized` unless the request comes from this machine itself or has the access token, which a guest of
   * the house has not; `too_many_guesses` for a wrong one after many others.
   */
  mustBeKeeper: () => void
}

const FOR_KEEPERS =
  'This ends an alarm, which is for those who keep the server: ask on its own machine, use the command `iclood` there, or send its access token as "Authorization: Bearer <token>".'

/**
 * Returns the guard that judges each request before anything else looks at it. It throws
 * - `unauthorized`: from outside the home network without the access token. A preflight of a listed origin passes if
 *   there is a token: browsers never send one with it, and it carries nothing else.
 * - `too_many_guesses`: the same, with a wrong token after many others.
 * - `unknown_host`: sent to a name that isn't ours, which is how DNS rebinding shows.
 * - `cross_site`: from a foreign page, except to `/ping`.
 *
 * They are judged in this order: who has no business here learns nothing about the rest. Throws a `TypeError` at once
 * if one of `trustedProxies` or `homeNetworks` is neither an address nor a network.
 */
export function createAccessGuard(rules: AccessRules): (request: AccessRequest) => Access {
  const trusted = networksOf(rules.trustedProxies)
  const home = networksOf(rules.homeNetworks ?? [])
  const isTrusted = (address: Address | undefined): boolean => address !== undefined && isIn(trusted, address)
  const tokens = new TokenJudge(rules.accessToken)
  const isOurHost = createHostJudge(rules.allowedHosts, rules.ownNames)
  const siteOf = createSiteJudge(rules.corsOrigins)

  return (request) => {
    const { headers } = request
    const remote = parseAddress(request.remoteAddress ?? '')
    const behindProxy = isTrusted(remote)
    const forwarding = readForwarding(headers)
    const client = judgeClient(remote, forwarding, isTrusted, home)

    const sentTo = headers.host ?? ''
    const publicHost = (behindProxy ? forwarding.hosts[0] : undefined) ?? sentTo
    const site = siteOf(headers, `${behindProxy ? forwarding.scheme : 'http'}://${publicHost}`)

    const asksFirst = Boolean(rules.accessToken) && site.kind === 'listed' && isPreflight(request.method, headers)
    if (!client.isHome && !asksFirst) tokens.check(headers.authorization, client.subscriber)

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
    const isHere = !forwarding.isProxied && remote !== undefined && request.remoteAddress === request.localAddress
    return {
      clientAddress: client.name,
      cors: site.kind === 'listed' ? { origin: site.origin } : undefined,
      mustBeKeeper: () => {
        if (!isHere) tokens.check(headers.authorization, client.subscriber, FOR_KEEPERS)
      },
    }
  }
}

/** Where a request comes from. */
interface Client {
  /** Its address, or `unknown`. */
  name: string
  /** Who has a share of his own of what is limited. */
  subscriber: string
  isHome: boolean
}

/**
 * Where a request comes from. Headers that name a client count only from a trusted proxy; from anyone else they show
 * that an unknown proxy lets the world in, as does whatever else proxies write. A proxy may pass on headers that it
 * doesn't write itself, so each of them has to name a client at home: in its chain, the first from our end that isn't a
 * trusted proxy. A request that has come through a proxy and names no client that way is from outside.
 */
function judgeClient(
  remote: Address | undefined,
  { chains, hints, isProxied }: Forwarding,
  isTrusted: (address: Address | undefined) => boolean,
  home: readonly Network[],
): Client {
  const toClient = (address: Address | undefined): Client => ({
    name: address?.toString() ?? 'unknown',
    subscriber: address === undefined ? 'unknown' : subscriberOf(address),
    isHome: address !== undefined && isHome(address, home),
  })
  if (!isProxied) return toClient(remote)
  const stranger = { ...toClient(remote), isHome: false }
  if (!isTrusted(remote)) return stranger
  const clients = chains.map((chain) => {
    const nearest = chain.findLastIndex((address) => !isTrusted(address))
    return toClient(chain[Math.max(nearest, 0)])
  })
  const client = clients.find((one) => !one.isHome) ?? clients[0] ?? stranger
  return hints.every((address) => toClient(address).isHome) ? client : { ...client, isHome: false }
}

function networksOf(texts: readonly string[]): Network[] {
  return texts.map((text) => {
    const network = parseNetwork(text)
    if (network === undefined) throw new TypeError(`${text} is neither an IP address nor a CIDR network`)
    return network
  })
}

/** The host in a target such as `http://host/path`, which overrides `Host` (RFC 9112 section 3.2.2). */
function targetHost(target: string): string[] {
  return target.startsWith('/') || target === '*' ? [] : [/^https?:\/\/([^/?#]*)/i.exec(target)?.[1] ?? '']
}

function hasTwoHosts(rawHeaders: readonly string[] = []): boolean {
  return rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'host').length > 1
}
