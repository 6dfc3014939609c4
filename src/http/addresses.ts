import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

/** An IP address; one that is IPv4 in an IPv6 coat (`::ffff:192.168.1.5`) is the IPv4 address. */
export type Address = ipaddr.IPv4 | ipaddr.IPv6

/** An address and how many of its leading bits count. */
export type Network = readonly [Address, number]

/**
 * Reads an IPv4 address in four decimal parts or an IPv6 address, whose zone (`%eth0`) is dropped. Returns undefined
 * for anything else, also for the spellings that only some programs take for addresses (`127.1`, `0x7f.0.0.1`,
 * `::192.168.1.5`).
 */
export function parseAddress(text: string): Address | undefined {
  if (isIP(text) === 0 || /^::\d+\./.test(text)) return undefined
  return ipaddr.process(text.replace(/%.*$/, ''))
}

/**
 * Reads an address or a CIDR network such as `10.0.0.0/8`, an address being a network of one. Returns undefined for
 * anything else.
 */
export function parseNetwork(text: string): Network | undefined {
  const [, host = '', prefix] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text.trim()) ?? []
  const address = parseAddress(host)
  if (address === undefined) return undefined
  const bits = address.kind() === 'ipv4' ? 32 : 128
  // The prefix counts bits of the address as written: 96 more where it wears the IPv6 coat.
  const length = prefix === undefined ? bits : Number(prefix) - (bits === 32 && host.includes(':') ? 96 : 0)
  return length >= 0 && length <= bits ? [address, length] : undefined
}

/** Whether `address` lies in one of `networks`. */
export function isIn(networks: readonly Network[], address: Address): boolean {
  return networks.some(([network, bits]) => network.kind() === address.kind() && address.match(network, bits))
}

/**
 * Whether `address` belongs to the home network: loopback, private (RFC 1918), link-local or unique-local (RFC 4193).
 * Carrier-grade NAT (100.64.0.0/10, where Tailscale lives too) doesn't: its other customers are strangers.
 */
export function isHome(address: Address): boolean {
  return ['loopback', 'private', 'linkLocal', 'uniqueLocal'].includes(address.range())
}
