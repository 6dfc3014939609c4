import { isIP } from 'node:net'
import { createHostJudge, parseHost } from '../../../src/http/access/host-names.ts'
import { check, type Target } from '../target.ts'

const judge = createHostJudge(['photos.example.com', '*.example.org', '.example.net'], () => ({
  machine: 'pi.flat.example.edu',
  searched: ['zuhause', 'com', 'duckdns.org', 'co.uk', ''],
}))

/** What may be ours, as a pattern of its own; addresses and names without a dot besides. */
const OURS =
  /^(?:photos\.example\.com|(?:.+\.)?example\.net|.+\.(?:example\.org|flat\.example\.edu|zuhause|local|lan|home|home\.arpa|internal|localdomain|fritz\.box|ts\.net))$/

/**
 * Host headers. Whatever is taken for a host of ours is one to a browser, by the URL standard: an address, a name
 * without a dot, or one that is listed.
 */
export const hosts: Target = {
  name: 'hosts',
  seeds: [
    ...[
      '192.168.1.5:8080',
      '[fe80::1]:8080',
      'raspberrypi.local',
      'PI.Fritz.Box.',
      'localhost:80',
      'photos.example.com',
    ],
    ...['a.b.example.org', 'example.net:443', 'pi.tail1234.ts.net', 'nas.flat.example.edu', 'x.zuhause', 'evil.com'],
    ...['0x7f.1', '2130706433', 'user@localhost', '127.0.0.1.evil.com', 'evil.co.uk', 'me.duckdns.org', 'pi_2'],
  ].map((text) => Buffer.from(text)),
  tokens: [
    ...[
      '.local',
      '.lan',
      '.ts.net',
      '.com',
      '.example.org',
      'example.net',
      'evil.com',
      'localhost',
      '127.0.0.1',
      '::1',
    ],
    ...[
      '.',
      '..',
      ':',
      ':80',
      '@',
      '#',
      '/',
      '?',
      '\\',
      '%2e',
      '%00',
      '[',
      ']',
      '0x',
      'xn--',
      '-',
      '_',
      ' ',
      '\t',
      '\0',
      ',',
    ],
  ],
  inTests: 10_000,
  run(input) {
    // Node hands on headers in Latin-1.
    const header = input.toString('latin1')
    const host = parseHost(header)
    if (host === undefined || !judge(host)) return
    const theirs = hostOfUrl(`http://${header.trim()}/`)
    // What no browser can ask for leads no page here.
    if (theirs === undefined) return
    check(theirs === spelling(host), 'A browser reads another host', [host, theirs])
    const bare = theirs.replace(/^\[|\]$/g, '')
    check(isIP(bare) !== 0 || !theirs.includes('.') || OURS.test(theirs), 'It is taken for ours', theirs)
  },
}

function hostOfUrl(url: string): string | undefined {
  return URL.canParse(url) ? new URL(url).hostname.replace(/\.$/, '') : undefined
}

/** A host as URLs spell it: IPv6 addresses shortened. */
function spelling(host: string): string {
  return host.startsWith('[') ? new URL(`http://${host}/`).hostname : host
}
