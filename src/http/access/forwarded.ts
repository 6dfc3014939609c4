import type { IncomingHttpHeaders } from 'node:http'
import { type Address, parseAddress } from '../../base/addresses.ts'

/** What the proxies in front say about a request. Each list runs from the client's end to ours. */
export interface Forwarding {
  /**
   * One chain per header that names clients; undefined stands for an entry that isn't an address. A header that can't
   * be read is a chain of one such entry: no chain is ever empty.
   */
  chains: (Address | undefined)[][]
  /**
   * Whether each header that only services in front of servers write names a client, and which: one that names none
   * stands there as undefined. They are no evidence that a client is at home, only that it is not.
   */
  hints: (Address | undefined)[]
  /** Whether there is any header at all that proxies write, whatever it says. */
  isProxied: boolean
  /** The hosts that requests were sent to, as those headers spell them. */
  hosts: string[]
  /** `https` where a proxy took the request so from the client. */
  scheme: 'http' | 'https'
}

// RFC 7239 section 4, but for addresses with a port, which some write without the quotes.
const PAIR = /[ \t]*([!#$%&'*+\-.^`|~\w]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s",;]+))[ \t]*([;,]|$)/y

/** The headers whose clients a proxy is believed. */
const BELIEVED = new Set(['x-forwarded-for', 'forwarded', 'x-real-ip'])
/** What proxies write beside the client, or instead of it. */
const TRACE =
  /^(via|forwarded|x-forwarded|x-original|x-envoy|x-arr|x-proxy|x-proxied)(-.+)?$|^x-(url-)?(scheme|proto|host)$|^(x-http-host-override|front-end-https|x-nginx-proxy|x-amzn-trace-id|x-cloud-trace-context)$/
/** What names a client in a way of its own, or shows that the request has come over the internet. */
const HINT =
  /(client|connecting|real|remote|user|source|originating|external|true|peer)-?(ip|ipv4|ipv6|addr|address)$|^(x-)?forwarded$|forwarded-for|^(x-)?(cdn|cf|fastly|fly|cloudfront|amz-cf|azure|vercel|nf|appengine|akamai|incap|sucuri|ali-cdn|tailscale)-/

/**
 * Reads `X-Forwarded-*`, `Forwarded` (RFC 7239), `X-Real-IP`, and what else shows a proxy. Believing them is the
 * caller's decision.
 */
export function readForwarding(headers: IncomingHttpHeaders): Forwarding {
  const hints: (Address | undefined)[] = []
  let isProxied = false
  for (const [header, value] of Object.entries(headers)) {
    if (value === undefined) continue
    // Some servers take the one for the other.
    const name = header.replaceAll('_', '-')
    const isBelieved = BELIEVED.has(header)
    if (!isBelieved && HINT.test(name)) hints.push(parseNode(joined(value) ?? ''))
    else if (!isBelieved && !TRACE.test(name)) continue
    isProxied = true
  }
  const forwarded = parseForwarded(headers.forwarded)
  const chains: (Address | undefined)[][] = []
  const forwardedFor = joined(headers['x-forwarded-for'])
  if (forwardedFor !== undefined) chains.push(forwardedFor.split(',').map(parseNode))
  if (forwarded !== undefined) chains.push(forwarded.map((hop) => parseNode(hop.get('for') ?? '')))
  const realAddress = joined(headers['x-real-ip'])
  if (realAddress !== undefined) chains.push([parseNode(realAddress)])

  const forwardedHosts = joined(headers['x-forwarded-host'])?.split(',') ?? []
  const hosts = [...forwardedHosts, ...(forwarded?.map((hop) => hop.get('host')) ?? [])]
  const schemes = [joined(headers['x-forwarded-proto'])?.split(',')[0], forwarded?.[0]?.get('proto')]
  return {
    chains,
    hints,
    isProxied,
    hosts: hosts.filter((host) => host !== undefined).map((host) => host.trim()),
    scheme: schemes.some((scheme) => scheme?.trim().toLowerCase() === 'https') ? 'https' : 'http',
  }
}

/**
 * The hops of a `Forwarded` header, or undefined if there is none; one empty hop for a header that breaks its grammar.
 */
function parseForwarded(header: string | undefined): Map<string, string>[] | undefined {
  if (header === undefined) return undefined
  const hops = [new Map<string, string>()]
  PAIR.lastIndex = 0
  for (;;) {
    const [pair, name = '', quoted, token, separator] = PAIR.exec(header) ?? []
    const hop = hops.at(-1)
    if (pair === undefined || hop === undefined || hop.has(name.toLowerCase())) return [new Map()]
    hop.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? token ?? '')
    if (separator === '') return hops
    if (separator === ',') hops.push(new Map())
  }
}

/** An address with or without a port: `192.0.2.1`, `192.0.2.1:4711`, `[2001:db8::1]:4711`, `2001:db8::1`. */
function parseNode(text: string): Address | undefined {
  const [, bracketed, plain] = /^(?:\[([^\]]*)\]|([\d.]+))(?::\d{1,5})?$/.exec(text.trim()) ?? []
  return parseAddress(bracketed ?? plain ?? text.trim())
}

function joined(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(',') : header
}
