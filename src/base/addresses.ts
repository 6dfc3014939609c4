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
 * The networks that no router of the internet leads to, so that who comes from there is in the house: loopback, private
 * (RFC 1918), link-local and unique-local (RFC 4193). Carrier-grade NAT (100.64.0.0/10, where Tailscale lives too) is
 * none of them: its other customers are strangers.
 */
const HOME: readonly Network[] = [
  '127.0.0.0/8',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '169.254.0.0/16',
  '::1/128',
  'fe80::/10',
  'fc00::/7',
].flatMap((text) => {
  const network = parseNetwork(text)
  return network === undefined ? [] : [network]
})

/** Whether `address` belongs to the home network, or to that part of it which `narrowed` names, if it names any. */
export function isHome(address: Address, narrowed: readonly Network[] = []): boolean {
  return isIn(HOME, address) && (narrowed.length === 0 || isIn(narrowed, address))
}

/** Whether all of `network` belongs to the home network. */
export function isAtHome([address, bits]: Network): boolean {
  return HOME.some((home) => home[1] <= bits && isIn([home], address))
}

/** Prefixes of networks of the internet, from the shortest on that one party may have. */
const SHORTEST = { ipv4: 8, ipv6: 16 } as const
/** All of them together are at most this many of the largest ones. */
const LARGEST_TOGETHER = 16

/** Those of `networks` that are too large a part of the internet to belong to a party whose word counts. */
export function tooLarge(networks: readonly Network[]): Network[] {
  const foreign = networks.filter((network) => !isAtHome(network))
  const single = foreign.filter(([address, bits]) => bits < SHORTEST[address.kind()])
  if (single.length > 0) return single
  for (const kind of ['ipv4', 'ipv6'] as const) {
    const same = foreign.filter(([address]) => address.kind() === kind)
    const size = same.reduce((sum, [, bits]) => sum + 2 ** (SHORTEST[kind] - bits), 0)
    if (size > LARGEST_TOGETHER) return same
  }
  return []
}

/**
 * Whoever `address` stands for when shares are given out: itself, or its network of 64 bits in IPv6, all of which one
 * machine can have.
 */
export function subscriberOf(address: Address): string {
  return address.kind() === 'ipv4' ? address.toString() : `${address.toNormalizedString().split(':', 4).join(':')}::/64`
}
