import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AppError, type ErrorCode } from '../../../src/errors.ts'
import {
  type Access,
  type AccessRequest,
  type AccessRules,
  corsHeaders,
  createAccessGuard,
} from '../../../src/http/access/access.ts'
import { fc } from '../../support/property.ts'

const RULES: AccessRules = { accessToken: undefined, trustedProxies: [], allowedHosts: [], corsOrigins: [] }
const HOME = '192.168.1.20'
const STRANGER = '203.0.113.7'

type Asked = Partial<Omit<AccessRequest, 'headers'>> & { headers?: Record<string, string | undefined> }

function ask(rules: Partial<AccessRules>, { headers, ...request }: Asked): Access {
  const host = headers !== undefined && 'host' in headers ? {} : { host: '192.168.1.5:8080' }
  return createAccessGuard({ ...RULES, ...rules })({
    remoteAddress: HOME,
    method: 'GET',
    path: '/storage/status',
    ...request,
    headers: { ...host, ...headers },
  })
}

function verdict(rules: Partial<AccessRules>, request: Asked): ErrorCode | 'open' {
  try {
    ask(rules, request)
    return 'open'
  } catch (error) {
    if (error instanceof AppError) return error.code
    throw error
  }
}

describe('an address', () => {
  it.each([
    '127.0.0.1',
    '127.255.255.254',
    '::1',
    '::ffff:127.0.0.1',
    '10.0.0.1',
    '10.255.255.255',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.0.1',
    '169.254.10.10',
    '::ffff:192.168.1.5',
    '::ffff:c0a8:105',
    'fe80::1',
    'fe80::1%eth0',
    'fe80::1%br-lan.100',
    'febf::1',
    'fc00::1',
    'fdff:ffff::1',
  ])('%s is at home', (remoteAddress) => {
    expect(verdict({}, { remoteAddress })).toBe('open')
  })

  it.each([
    '203.0.113.7',
    '8.8.8.8',
    '9.255.255.255',
    '11.0.0.0',
    '172.15.255.255',
    '172.32.0.0',
    '192.167.255.255',
    '192.169.0.0',
    '100.64.0.1',
    '169.253.0.1',
    '0.0.0.0',
    '255.255.255.255',
    '::ffff:8.8.8.8',
    '::ffff:0:192.168.1.5',
    '::192.168.1.5',
    '64:ff9b::c0a8:105',
    '2002:c0a8:0105::1',
    '2001:db8::1',
    'fec0::1',
    'fbff::1',
    'fe00::1',
    '::',
    '10.1',
    '010.0.0.1',
    '0x0a.0.0.1',
    '192.168.1.5, 8.8.8.8',
    'localhost',
    '',
    undefined,
  ])('%s is outside', (remoteAddress) => {
    expect(verdict({}, { remoteAddress })).toBe('unauthorized')
  })

  it('is reported in one spelling, without the IPv6 coat or the zone', () => {
    expect(ask({}, { remoteAddress: '::ffff:192.168.1.5' }).clientAddress).toBe('192.168.1.5')
    expect(ask({}, { remoteAddress: 'FE80:0:0:0:0:0:0:1%eth0' }).clientAddress).toBe('fe80::1')
  })
})

describe('the access token', () => {
  const accessToken = 'correct-horse'
  it.each([
    ['Bearer correct-horse', 'open'],
    ['bearer correct-horse', 'open'],
    ['BEARER   correct-horse ', 'open'],
    ['Bearer correct-hors', 'unauthorized'],
    ['Bearer correct-horse2', 'unauthorized'],
    ['Bearer correct-horse correct-horse', 'unauthorized'],
    ['Bearer', 'unauthorized'],
    ['Bearer ', 'unauthorized'],
    ['correct-horse', 'unauthorized'],
    ['Basic correct-horse', 'unauthorized'],
    ['', 'unauthorized'],
    [undefined, 'unauthorized'],
  ] as const)('from outside as %s: %s', (authorization, expected) => {
    expect(verdict({ accessToken }, { remoteAddress: STRANGER, headers: { authorization } })).toBe(expected)
  })

  it('is asked for on every path and method, /ping included', () => {
    for (const path of ['/ping', '/', '/docs', '/photos/upload', '*']) {
      for (const method of ['GET', 'HEAD', 'POST', 'OPTIONS']) {
        expect(verdict({ accessToken }, { remoteAddress: STRANGER, path, method })).toBe('unauthorized')
      }
    }
  })

  it.each([undefined, ''])('set to %j lets nobody in', (token) => {
    for (const authorization of ['Bearer ', 'Bearer undefined', 'Bearer x']) {
      expect(verdict({ accessToken: token }, { remoteAddress: STRANGER, headers: { authorization } })).toBe(
        'unauthorized',
      )
    }
  })

  it('does not matter at home, even a wrong one', () => {
    expect(verdict({ accessToken }, { headers: { authorization: 'Bearer wrong' } })).toBe('open')
  })

  it('opens neither another host nor a foreign page', () => {
    const authorization = `Bearer ${accessToken}`
    const remoteAddress = STRANGER
    expect(verdict({ accessToken }, { remoteAddress, headers: { authorization, host: 'evil.com' } })).toBe(
      'unknown_host',
    )
    expect(verdict({ accessToken }, { remoteAddress, headers: { authorization, origin: 'http://evil.com' } })).toBe(
      'cross_site',
    )
  })

  it('is the first thing a stranger hears of', () => {
    const headers = { host: 'evil.com', origin: 'http://evil.com' }
    expect(verdict({ accessToken }, { remoteAddress: STRANGER, headers })).toBe('unauthorized')
  })
})

describe('headers of proxies', () => {
  it.each([
    { 'x-forwarded-for': HOME },
    { 'x-forwarded-for': '' },
    { 'x-real-ip': HOME },
    { forwarded: `for=${HOME}` },
    { forwarded: '' },
  ])('from elsewhere than a trusted proxy count as from outside: %j', (headers) => {
    expect(verdict({}, { headers })).toBe('unauthorized')
    expect(verdict({}, { remoteAddress: '127.0.0.1', headers })).toBe('unauthorized')
    expect(verdict({ trustedProxies: ['192.168.1.21'] }, { headers })).toBe('unauthorized')
    expect(verdict({ accessToken: 't' }, { headers: { ...headers, authorization: 'Bearer t' } })).toBe('open')
  })

  const trustedProxies = ['192.168.1.2', '10.9.0.0/16', 'fd00:9::/32']
  const remoteAddress = '192.168.1.2'
  it.each([
    [{}, 'open', '192.168.1.2'],
    [{ 'x-forwarded-for': '192.168.1.30' }, 'open', '192.168.1.30'],
    [{ 'x-forwarded-for': STRANGER }, 'unauthorized', STRANGER],
    [{ 'x-forwarded-for': `${STRANGER}, 192.168.1.30` }, 'open', '192.168.1.30'],
    [{ 'x-forwarded-for': `192.168.1.30, ${STRANGER}` }, 'unauthorized', STRANGER],
    [{ 'x-forwarded-for': `192.168.1.30, ${STRANGER}, 10.9.1.1,10.9.2.2` }, 'unauthorized', STRANGER],
    [{ 'x-forwarded-for': '192.168.1.30, 10.9.1.1' }, 'open', '192.168.1.30'],
    [{ 'x-forwarded-for': '192.168.1.30, fd00:9::7' }, 'open', '192.168.1.30'],
    [{ 'x-forwarded-for': '10.9.0.1, 192.168.1.2' }, 'open', '10.9.0.1'],
    [{ 'x-forwarded-for': '192.168.1.30:5000' }, 'open', '192.168.1.30'],
    [{ 'x-forwarded-for': '[fe80::7]:5000' }, 'open', 'fe80::7'],
    [{ 'x-forwarded-for': 'fe80::7' }, 'open', 'fe80::7'],
    [{ 'x-forwarded-for': '192.168.1.30, unknown' }, 'unauthorized', 'unknown'],
    [{ 'x-forwarded-for': '192.168.1.30,' }, 'unauthorized', 'unknown'],
    [{ 'x-forwarded-for': '192.168.1.30, 192.168.1' }, 'unauthorized', 'unknown'],
    [{ 'x-forwarded-for': '192.168.1.30, 192.168.1.30.evil.com' }, 'unauthorized', 'unknown'],
    [{ 'x-forwarded-for': '' }, 'unauthorized', 'unknown'],
    [{ 'x-real-ip': '192.168.1.30' }, 'open', '192.168.1.30'],
    [{ 'x-real-ip': STRANGER }, 'unauthorized', STRANGER],
    [{ 'x-real-ip': '192.168.1.30, 192.168.1.31' }, 'unauthorized', 'unknown'],
    // A proxy that writes one of them passes the others on as the client wrote them.
    [
      { 'x-forwarded-for': STRANGER, 'x-real-ip': '192.168.1.30', forwarded: 'for=127.0.0.1' },
      'unauthorized',
      STRANGER,
    ],
    [{ 'x-forwarded-for': '192.168.1.30', forwarded: `for=${STRANGER}` }, 'unauthorized', STRANGER],
    [{ 'x-forwarded-for': '192.168.1.30', 'x-real-ip': STRANGER }, 'unauthorized', STRANGER],
    [{ 'x-forwarded-for': '192.168.1.30', forwarded: '"' }, 'unauthorized', 'unknown'],
    [{ forwarded: 'for=192.168.1.30' }, 'open', '192.168.1.30'],
    [{ forwarded: 'For="192.168.1.30:4711";proto=http;by=192.168.1.2' }, 'open', '192.168.1.30'],
    [{ forwarded: 'for="[fd00::7]:4711"' }, 'open', 'fd00::7'],
    [{ forwarded: `for=192.168.1.30, for=${STRANGER}` }, 'unauthorized', STRANGER],
    [{ forwarded: `for=${STRANGER}, for=192.168.1.30, for=10.9.3.3` }, 'open', '192.168.1.30'],
    [{ forwarded: `for="x, for=192.168.1.30", for=${STRANGER}` }, 'unauthorized', STRANGER],
    [{ forwarded: 'for=192.168.1.30, for=_hidden' }, 'unauthorized', 'unknown'],
    [{ forwarded: 'for=192.168.1.30, for=unknown' }, 'unauthorized', 'unknown'],
    [{ forwarded: 'for=192.168.1.30, proto=http' }, 'unauthorized', 'unknown'],
    [{ forwarded: `for=${STRANGER};for=192.168.1.30` }, 'unauthorized', 'unknown'],
    [{ forwarded: 'for="192.168.1.30' }, 'unauthorized', 'unknown'],
    [{ forwarded: 'for=192.168.1.30,' }, 'unauthorized', 'unknown'],
    [{ forwarded: '192.168.1.30' }, 'unauthorized', 'unknown'],
  ] as const)('from a trusted proxy name the client: %j is %s (%s)', (headers, expected, address) => {
    expect(verdict({ trustedProxies }, { remoteAddress, headers })).toBe(expected)
    const rules = { trustedProxies, accessToken: 't' }
    expect(ask(rules, { remoteAddress, headers: { ...headers, authorization: 'Bearer t' } }).clientAddress).toBe(
      address,
    )
  })

  const traces = [
    { via: '1.1 proxy' },
    { 'x-forwarded-proto': 'https' },
    { 'x-forwarded-host': 'pi.local' },
    { 'x-forwarded-port': '443' },
    { 'x-forwarded-server': 'pi.local' },
    { 'x-forwarded': '' },
    { x_forwarded_for: '192.168.1.30' },
    { 'forwarded-for': '192.168.1.30' },
    { 'x-original-forwarded-for': '192.168.1.30' },
    { 'x-original-host': 'pi.local' },
    { 'x-scheme': 'https' },
    { 'x-envoy-external-address': '192.168.1.30' },
    { 'x-amzn-trace-id': 'Root=1' },
    { 'cf-connecting-ip': '192.168.1.30' },
    { 'cf-connecting-ipv6': 'fe80::7' },
    { 'cf-ray': '1' },
    { 'cdn-loop': 'cloudflare' },
    { 'true-client-ip': '192.168.1.30' },
    { 'x-client-ip': '192.168.1.30' },
    { 'client-ip': '192.168.1.30' },
    { 'x-cluster-client-ip': '192.168.1.30' },
    { 'wl-proxy-client-ip': '192.168.1.30' },
    { 'fastly-client-ip': '192.168.1.30' },
    { 'fly-client-ip': '192.168.1.30' },
    { 'x-azure-clientip': '192.168.1.30' },
    { 'x-appengine-user-ip': '192.168.1.30' },
    { 'do-connecting-ip': '192.168.1.30' },
    { 'x-vercel-forwarded-for': '192.168.1.30' },
    { 'x-remote-addr': '192.168.1.30' },
    { 'x-originating-ip': '192.168.1.30' },
    { 'tailscale-funnel-request': '?1' },
  ]
  it.each(traces)('that show a proxy and no client that can be believed are from outside: %j', (headers) => {
    for (const rules of [{}, { trustedProxies }, { trustedProxies: ['192.168.1.20'] }]) {
      for (const from of [HOME, remoteAddress, '127.0.0.1', '::ffff:192.168.1.2', 'fe80::1']) {
        expect(verdict(rules, { remoteAddress: from, headers })).toBe('unauthorized')
      }
    }
    expect(verdict({ trustedProxies }, { remoteAddress, headers: { ...headers, 'x-forwarded-for': STRANGER } })).toBe(
      'unauthorized',
    )
  })

  it.each([
    [{ via: '1.1 proxy', 'x-forwarded-proto': 'http' }, 'open'],
    [{ 'cf-connecting-ip': '192.168.1.30' }, 'open'],
    [{ 'cf-connecting-ip': STRANGER }, 'unauthorized'],
    [{ 'true-client-ip': 'unknown' }, 'unauthorized'],
    [{ 'cdn-loop': 'cloudflare' }, 'unauthorized'],
    [{ 'x-client-ip': `192.168.1.30, ${STRANGER}` }, 'unauthorized'],
  ] as const)('beside a client at home that a trusted proxy names: %j is %s', (headers, expected) => {
    const named = { 'x-forwarded-for': '192.168.1.30', ...headers }
    expect(verdict({ trustedProxies }, { remoteAddress, headers: named })).toBe(expected)
  })

  it('of ordinary clients do not matter: what browsers, apps and curl send is no trace of a proxy', () => {
    const headers = {
      ...{ 'user-agent': 'iClood/1 CFNetwork/1410 Darwin/22.6.0', accept: '*/*', 'accept-encoding': 'gzip' },
      ...{ connection: 'keep-alive', 'x-requested-with': 'XMLHttpRequest', 'x-client-version': '1', expect: '' },
      ...{ 'upgrade-insecure-requests': '1', dnt: '1', 'sec-gpc': '1', 'x-request-id': '1', cookie: 'ip=1' },
    }
    expect(verdict({}, { headers })).toBe('open')
  })

  it('are believed of a trusted proxy in the IPv6 coat, and of one on the internet', () => {
    const headers = { 'x-forwarded-for': '192.168.1.30' }
    expect(verdict({ trustedProxies }, { remoteAddress: '::ffff:192.168.1.2', headers })).toBe('open')
    expect(verdict({ trustedProxies: ['::ffff:192.168.1.0/120'] }, { remoteAddress, headers })).toBe('open')
    expect(verdict({ trustedProxies: ['::ffff:192.168.2.0/120'] }, { remoteAddress, headers })).toBe('unauthorized')
    expect(verdict({ trustedProxies: ['198.51.100.0/24'] }, { remoteAddress: '198.51.100.9', headers })).toBe('open')
    expect(verdict({ trustedProxies: ['198.51.100.0/24'] }, { remoteAddress: '198.51.100.9' })).toBe('unauthorized')
    expect(verdict({ trustedProxies: ['0.0.0.0/0'] }, { remoteAddress: '8.8.8.8', headers })).toBe('open')
  })

  it.each(['', 'proxy', '10.0.0.0/33', '10.0.0/8', '::1/129', '::ffff:10.0.0.1/95', '10.0.0.1/', '10.0.0.1/-1'])(
    'need a trusted proxy that is an address or a network, not %j',
    (proxy) => {
      expect(() => createAccessGuard({ ...RULES, trustedProxies: [proxy] })).toThrow(TypeError)
    },
  )

  it('never let a stranger in by anything written left of the stranger', () => {
    const entry = fc.oneof(
      fc.string(),
      fc.ipV4(),
      fc.constantFrom('192.168.1.30', '10.9.0.1', '"', 'for=127.0.0.1', ','),
    )
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 5 }), (entries) => {
        const headers = { 'x-forwarded-for': [...entries, STRANGER].join(', ') }
        expect(verdict({ trustedProxies }, { remoteAddress, headers })).toBe('unauthorized')
        const forwarded = [...entries, `for=${STRANGER}`].join(', ')
        expect(verdict({ trustedProxies }, { remoteAddress, headers: { forwarded } })).toBe('unauthorized')
      }),
    )
  })
})

describe('the home network, where a part of it is named,', () => {
  const homeNetworks = ['192.168.1.0/24', 'fd00:1::/64', '::1']
  it.each([
    ['192.168.1.20', 'open'],
    ['::ffff:192.168.1.20', 'open'],
    ['fd00:1::7', 'open'],
    ['::1', 'open'],
    ['192.168.2.20', 'unauthorized'],
    ['127.0.0.1', 'unauthorized'],
    ['fd00:2::7', 'unauthorized'],
    ['fe80::7', 'unauthorized'],
    [STRANGER, 'unauthorized'],
  ])('has %s: %s', (remoteAddress, expected) => {
    expect(verdict({ homeNetworks }, { remoteAddress })).toBe(expected)
    const proxied = { remoteAddress: '192.168.1.2', headers: { 'x-forwarded-for': remoteAddress } }
    const rules = { homeNetworks, trustedProxies: ['192.168.1.2'] }
    expect(verdict(rules, proxied)).toBe(expected)
  })

  it('never has more than a home network can have', () => {
    expect(verdict({ homeNetworks: ['0.0.0.0/0', '::/0'] }, { remoteAddress: STRANGER })).toBe('unauthorized')
    expect(verdict({ homeNetworks: ['0.0.0.0/0', '::/0'] }, {})).toBe('open')
  })
})

describe('who keeps the server', () => {
  const mayEndAlarms = (rules: Partial<AccessRules>, request: Asked): boolean => {
    try {
      ask(rules, request).mustBeKeeper()
      return true
    } catch (error) {
      if (error instanceof AppError && error.code === 'unauthorized') return false
      throw error
    }
  }

  it('asks on its machine, or has its token; nobody else in the house does', () => {
    const accessToken = 't'
    expect(mayEndAlarms({}, { remoteAddress: '127.0.0.1', localAddress: '127.0.0.1' })).toBe(true)
    expect(mayEndAlarms({}, { remoteAddress: HOME, localAddress: HOME })).toBe(true)
    expect(mayEndAlarms({}, { remoteAddress: HOME, localAddress: '192.168.1.5' })).toBe(false)
    expect(mayEndAlarms({}, { remoteAddress: HOME })).toBe(false)
    const from = (token: string) => ({ headers: { authorization: `Bearer ${token}` }, localAddress: '192.168.1.5' })
    expect(mayEndAlarms({ accessToken }, from('t'))).toBe(true)
    expect(mayEndAlarms({ accessToken }, from('x'))).toBe(false)
    const headers = { 'x-forwarded-for': HOME }
    const proxied = { remoteAddress: '127.0.0.1', localAddress: '127.0.0.1', headers }
    expect(mayEndAlarms({ trustedProxies: ['127.0.0.1'] }, proxied)).toBe(false)
  })
})

describe('the host', () => {
  it.each([
    '192.168.1.5',
    '192.168.1.5:8080',
    '203.0.113.7:80',
    '[::1]',
    '[fe80::1]:8080',
    '[fe80::1%25eth0]:8080',
    '[2001:db8::1]:8080',
    'localhost',
    'LOCALHOST:8080',
    'localhost.',
    'raspberrypi',
    'my_pi-2:8080',
    'raspberrypi.local',
    'RaspberryPi.Local.:8080',
    'a.b.local',
    'pi.lan',
    'pi.home',
    'pi.home.arpa',
    'pi.internal',
    'pi.localdomain',
    'raspberrypi.fritz.box',
    'pi.tail1234.ts.net',
    'pi:',
  ])('%s is ours', (host) => {
    expect(verdict({}, { headers: { host } })).toBe('open')
  })

  it.each([
    undefined,
    '',
    ' ',
    'evil.com',
    'evil.com:8080',
    '127.0.0.1.evil.com',
    'localhost.evil.com',
    'local.evil.com',
    'evillocal.com',
    'pi.local.evil.com',
    'ts.net',
    'home.arpa',
    'evilts.net',
    'fritz.box',
    'evilfritz.box',
    'evil.box',
    '.local',
    'pi..local',
    'localhost..',
    'evil.com:80@localhost',
    'user@localhost',
    'localhost@evil.com',
    'localhost/evil.com',
    'localhost#.evil.com',
    'localhost,evil.com',
    'localhost evil.com',
    'localhost:80:80',
    'localhost:port',
    '0x7f.1',
    '127.1',
    '0x7f000001',
    '2130706433',
    '127.0.0.256',
    '010.0.0.1',
    '::1',
    '[::1',
    '[::1]x',
    '[evil.com]',
    '[127.0.0.1]',
    'pi.lοcal',
    `${'a'.repeat(64)}.local`,
    `${'a.'.repeat(130)}local`,
  ])('%s is not', (host) => {
    expect(verdict({}, { headers: { host } })).toBe('unknown_host')
    expect(verdict({}, { headers: { host }, path: '/ping' })).toBe('unknown_host')
  })

  it.each([
    ['zuhause', 'pi.zuhause', 'open'],
    ['flat.example.org', 'pi.flat.example.org:8080', 'open'],
    ['Flat.Example.org.', 'a.b.flat.example.org', 'open'],
    ['flat.example.org', 'flat.example.org', 'unknown_host'],
    ['flat.example.org', 'pi.example.org', 'unknown_host'],
    ['flat.example.org', 'evilflat.example.org', 'unknown_host'],
    ['flat.example.org', 'pi.flat.example.org.evil.com', 'unknown_host'],
    // Anybody can have a name there.
    ['com', 'evil.com', 'unknown_host'],
    ['co.uk', 'evil.co.uk', 'unknown_host'],
    ['duckdns.org', 'evil.duckdns.org', 'unknown_host'],
    ['github.io', 'evil.github.io', 'unknown_host'],
    ['ck', 'evil.org.ck', 'unknown_host'],
    ['.', 'evil.com', 'unknown_host'],
    ['', 'evil.com', 'unknown_host'],
    ['127.0.0.1', 'x.127.0.0.1', 'unknown_host'],
  ])('where this machine searches %j, %s is %s', (domain, host, expected) => {
    expect(verdict({ ownNames: () => ({ machine: 'pi', searched: [domain] }) }, { headers: { host } })).toBe(expected)
  })

  it.each([
    ['pi.flat.example.org', 'pi.flat.example.org', 'open'],
    ['pi.flat.example.org', 'nas.flat.example.org', 'open'],
    ['myhouse.duckdns.org', 'MyHouse.duckdns.org', 'open'],
    ['myhouse.duckdns.org', 'evil.duckdns.org', 'unknown_host'],
    ['pi', 'pi.evil.com', 'unknown_host'],
  ])('of a machine that is called %s, %s is %s', (machine, host, expected) => {
    expect(verdict({ ownNames: () => ({ machine, searched: [] }) }, { headers: { host } })).toBe(expected)
  })

  it('in a domain that the network tells later is ours from then on', () => {
    const searched: string[] = []
    const guard = createAccessGuard({ ...RULES, ownNames: () => ({ machine: 'pi', searched }) })
    const request = { remoteAddress: HOME, method: 'GET', path: '/', headers: { host: 'pi.flat.example.org' } }
    expect(() => guard(request)).toThrow(AppError)
    searched.push('flat.example.org')
    expect(guard(request)).toMatchObject({ clientAddress: HOME })
  })

  it.each([
    [['photos.example.com'], 'photos.example.com', 'open'],
    [['Photos.Example.com.'], 'photos.example.com:8080', 'open'],
    [['photos.example.com:8080'], 'PHOTOS.example.com.', 'open'],
    [['photos.example.com'], 'a.photos.example.com', 'unknown_host'],
    [['photos.example.com'], 'photos.example.com.evil.com', 'unknown_host'],
    [['*.example.com'], 'a.b.example.com', 'open'],
    [['*.example.com'], 'example.com', 'unknown_host'],
    [['*.example.com'], 'evilexample.com', 'unknown_host'],
    [['.example.com'], 'example.com', 'open'],
    [['.example.com'], 'a.example.com', 'open'],
    [['*'], 'evil.com', 'unknown_host'],
    [['*.'], 'evil.com', 'unknown_host'],
    [['.'], 'evil.com', 'unknown_host'],
    [[''], 'evil.com', 'unknown_host'],
  ] as const)('where %j is allowed, %s is %s', (allowedHosts, host, expected) => {
    expect(verdict({ allowedHosts }, { headers: { host } })).toBe(expected)
  })

  it('is refused when it comes twice', () => {
    const rawHeaders = ['Host', '192.168.1.5:8080', 'Accept', 'host', 'hOST', 'evil.com']
    expect(verdict({}, { rawHeaders })).toBe('unknown_host')
    expect(verdict({}, { rawHeaders: rawHeaders.slice(0, 4) })).toBe('open')
  })

  it('in the target overrides the header', () => {
    expect(verdict({}, { path: 'http://evil.com/ping' })).toBe('unknown_host')
    expect(verdict({}, { path: 'http://192.168.1.5:8080/ping' })).toBe('open')
    expect(verdict({}, { path: 'evil.com:80', method: 'CONNECT' })).toBe('unknown_host')
    expect(verdict({}, { path: 'http://192.168.1.5:8080/ping', headers: { host: 'evil.com' } })).toBe('unknown_host')
  })

  it('that a trusted proxy was asked for is judged too; from others it is not heard', () => {
    const trustedProxies = ['192.168.1.2']
    const remoteAddress = '192.168.1.2'
    const named = { 'x-forwarded-for': '192.168.1.30' }
    for (const sent of ['evil.com', 'pi.local, evil.com']) {
      const headers = { ...named, 'x-forwarded-host': sent }
      expect(verdict({ trustedProxies }, { remoteAddress, headers })).toBe('unknown_host')
      const accessToken = 't'
      expect(verdict({ accessToken }, { remoteAddress, headers: { ...headers, authorization: 'Bearer t' } })).toBe(
        'open',
      )
    }
    const forwarded = 'for=192.168.1.30;host="evil.com:8080"'
    expect(verdict({ trustedProxies }, { remoteAddress, headers: { forwarded } })).toBe('unknown_host')
    const allowedHosts = ['photos.example.com']
    const headers = { ...named, 'x-forwarded-host': 'photos.example.com' }
    expect(verdict({ trustedProxies, allowedHosts }, { remoteAddress, headers })).toBe('open')
  })
})

describe('a page', () => {
  const host = 'pi.local:8080'
  it.each([
    [{}, 'open'],
    [{ origin: 'http://pi.local:8080' }, 'open'],
    [{ origin: 'http://PI.local.:8080' }, 'open'],
    [{ origin: 'http://pi.local:8080', 'sec-fetch-site': 'same-origin' }, 'open'],
    [{ 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate' }, 'open'],
    [{ 'sec-fetch-site': 'same-site' }, 'open'],
    [{ origin: 'http://pi.local:8080', 'sec-fetch-site': 'cross-site' }, 'cross_site'],
    [{ origin: 'http://pi.local' }, 'cross_site'],
    [{ origin: 'http://pi.local:3000', 'sec-fetch-site': 'same-site' }, 'cross_site'],
    [{ origin: 'https://pi.local:8080' }, 'cross_site'],
    [{ origin: 'http://evil.com' }, 'cross_site'],
    [{ origin: 'http://pi.local:8080.evil.com' }, 'cross_site'],
    [{ origin: 'http://pi.local:8080@evil.com' }, 'cross_site'],
    [{ origin: 'http://evil.com@pi.local:8080' }, 'cross_site'],
    [{ origin: 'http://pi.local:8080/' }, 'cross_site'],
    [{ origin: 'http://pi.local:8080, http://pi.local:8080' }, 'cross_site'],
    [{ origin: 'null' }, 'cross_site'],
    [{ origin: '' }, 'cross_site'],
    [{ origin: 'file://' }, 'cross_site'],
    [{ origin: 'pi.local:8080' }, 'cross_site'],
    [{ origin: '*' }, 'cross_site'],
    [{ 'sec-fetch-site': 'cross-site' }, 'cross_site'],
    [{ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }, 'cross_site'],
    [{ 'sec-fetch-site': 'none, cross-site' }, 'cross_site'],
  ] as const)('that sends %j is judged: %s', (headers, expected) => {
    for (const path of ['/docs', '/photos/upload', '/ping/', '/pinga', '/%70ing', '/docs?x=/ping']) {
      expect(verdict({}, { path, headers: { host, ...headers } })).toBe(expected)
    }
    expect(verdict({}, { path: '/ping', headers: { host, ...headers } })).toBe('open')
    expect(verdict({}, { path: '/ping?now', headers: { host, ...headers } })).toBe('open')
  })

  it('is judged by the default port, and by IPv6 addresses, as browsers spell them', () => {
    expect(verdict({}, { headers: { host: 'pi.local', origin: 'http://pi.local' } })).toBe('open')
    expect(verdict({}, { headers: { host: 'pi.local:80', origin: 'http://pi.local' } })).toBe('open')
    expect(verdict({}, { headers: { host: '[FE80::1]:8080', origin: 'http://[fe80::1]:8080' } })).toBe('open')
  })

  it('behind a trusted proxy is of the scheme and host that the proxy was asked for', () => {
    const rules = { trustedProxies: ['192.168.1.2'], allowedHosts: ['photos.example.com'] }
    const named = { 'x-forwarded-for': '192.168.1.30' }
    const proxied = {
      ...{ ...named, host: 'pi:8080' },
      ...{ 'x-forwarded-host': 'photos.example.com', 'x-forwarded-proto': 'https' },
    }
    const from = (origin: string, headers = {}, remoteAddress = '192.168.1.2') =>
      verdict(rules, { remoteAddress, headers: { ...proxied, origin, ...headers } })
    expect(from('https://photos.example.com')).toBe('open')
    expect(from('http://photos.example.com')).toBe('cross_site')
    expect(from('http://pi:8080')).toBe('cross_site')
    expect(from('https://photos.example.com', {}, HOME)).toBe('unauthorized')
    expect(from('https://pi:8080', { 'x-forwarded-host': undefined })).toBe('open')
    const untrusted = { host: 'pi:8080', origin: 'https://pi:8080', 'x-forwarded-proto': 'https' }
    const withToken = { ...untrusted, authorization: 'Bearer t' }
    expect(verdict({ accessToken: 't' }, { headers: withToken })).toBe('cross_site')
    const forwarded = 'for=192.168.1.30;proto=https;host=photos.example.com'
    const none = { 'x-forwarded-for': undefined, 'x-forwarded-host': undefined, 'x-forwarded-proto': undefined }
    expect(from('https://photos.example.com', { ...none, forwarded })).toBe('open')
    expect(from('http://photos.example.com', { ...none, forwarded })).toBe('cross_site')
  })
})

describe('a listed origin', () => {
  const corsOrigins = [
    'https://photos.example.com',
    'http://Desk.lan:3000/',
    'https://plain.example:443',
    'capacitor://localhost',
  ]

  it.each(['https://photos.example.com', 'http://desk.lan:3000', 'https://plain.example', 'capacitor://localhost'])(
    '%s may call, and its answers name it',
    (origin) => {
      const headers = { origin, 'sec-fetch-site': 'cross-site' }
      expect(ask({ corsOrigins }, { headers }).cors).toEqual({ origin })
      expect(ask({ corsOrigins }, { headers, path: '/ping' }).cors).toEqual({ origin })
    },
  )

  it.each([
    'http://photos.example.com',
    'https://photos.example.com:8443',
    'https://a.photos.example.com',
    'null',
    'capacitor://evil',
  ])('%s is another', (origin) => {
    expect(verdict({ corsOrigins }, { headers: { origin } })).toBe('cross_site')
    expect(ask({ corsOrigins }, { headers: { origin }, path: '/ping' }).cors).toBeUndefined()
  })

  it.each([['*'], ['null'], ['']])('is never %j', (listed) => {
    for (const origin of ['null', '*', '', 'http://evil.com']) {
      expect(verdict({ corsOrigins: [listed] }, { headers: { origin } })).toBe('cross_site')
    }
  })

  it('is needed, not only a request of one of our own pages, to be named in answers', () => {
    expect(ask({ corsOrigins }, { headers: { host: 'pi:8080', origin: 'http://pi:8080' } }).cors).toBeUndefined()
    expect(ask({ corsOrigins }, {}).cors).toBeUndefined()
  })

  it('may ask first from outside where there is a token, and then has to send it', () => {
    const origin = 'https://photos.example.com'
    const outside = { remoteAddress: STRANGER, method: 'OPTIONS' }
    const preflight = { origin, 'access-control-request-method': 'POST' }
    const rules = { corsOrigins, accessToken: 't' }
    expect(ask(rules, { ...outside, headers: preflight }).cors).toEqual({ origin })
    expect(verdict({ corsOrigins }, { ...outside, headers: preflight })).toBe('unauthorized')
    expect(verdict(rules, { ...outside, headers: { ...preflight, origin: 'http://evil.com' } })).toBe('unauthorized')
    expect(verdict(rules, { ...outside, headers: { origin } })).toBe('unauthorized')
    expect(verdict(rules, { ...outside, method: 'POST', headers: preflight })).toBe('unauthorized')
  })

  it('gets headers that name it and never everybody', () => {
    expect(corsHeaders('https://a.example', 'simple')).toEqual({
      'access-control-allow-origin': 'https://a.example',
      vary: 'Origin',
    })
    expect(corsHeaders('https://a.example', 'preflight')).toEqual({
      'access-control-allow-origin': 'https://a.example',
      vary: 'Origin',
      'access-control-allow-methods': 'GET, HEAD, POST',
      'access-control-allow-headers': 'Authorization, Content-Type',
      'access-control-max-age': '600',
    })
  })
})

describe('on real sockets', () => {
  let server: Server
  let port: number

  beforeAll(async () => {
    const guard = createAccessGuard({
      ...RULES,
      corsOrigins: ['https://photos.example.com'],
      trustedProxies: ['127.0.0.2'],
    })
    server = createServer((request, response) => {
      const { headers, rawHeaders, method = '', url: path = '' } = request
      try {
        response.end(
          guard({ remoteAddress: request.socket.remoteAddress, headers, rawHeaders, method, path }).clientAddress,
        )
      } catch (error) {
        response.end(error instanceof AppError ? error.code : String(error))
      }
    })
    server.listen(0, '::')
    await once(server, 'listening')
    port = (server.address() as AddressInfo).port
  })

  afterAll(() => server.close())

  /** The body of the answer to a request written by hand, from one of this machine's addresses. */
  async function send(request: string, host = '127.0.0.1', localAddress = host): Promise<string> {
    const socket = connect({ host, port, localAddress })
    socket.end(`${request.replaceAll('\n', '\r\n')}\r\nConnection: close\r\n\r\n`)
    const answer = Buffer.concat(await socket.toArray()).toString()
    return answer.slice(answer.indexOf('\r\n\r\n') + 4).replace(/^[\da-f]+\r\n|\r\n0\r\n\r\n$/g, '')
  }

  it.each([
    ['over IPv4', 'GET / HTTP/1.1\nHost: localhost', '127.0.0.1'],
    ['to a foreign name', 'GET / HTTP/1.1\nHost: evil.com', 'unknown_host'],
    ['with two hosts', 'GET / HTTP/1.1\nHost: localhost\nHost: evil.com', 'unknown_host'],
    ['without a host', 'GET / HTTP/1.0', 'unknown_host'],
    ['with a foreign target', 'GET http://evil.com/ping HTTP/1.1\nHost: localhost', 'unknown_host'],
    [
      'with two origins',
      'POST / HTTP/1.1\nHost: pi\nOrigin: https://photos.example.com\nOrigin: http://evil.com',
      'cross_site',
    ],
    ['through an unknown proxy', 'GET / HTTP/1.1\nHost: localhost\nX-Forwarded-For: 192.168.1.9', 'unauthorized'],
  ])('a request %s is judged as it came', async (_, request, expected) => {
    expect(await send(request)).toBe(expected)
  })

  it('a request over IPv6 is judged as it came', async () => {
    expect(await send('GET / HTTP/1.1\nHost: [::1]', '::1')).toBe('::1')
  })

  it('headers given several times are one list, the nearest hop last', async () => {
    const request = (first: string, second: string) =>
      send(`GET / HTTP/1.1\nHost: pi\nX-Forwarded-For: ${first}\nX-Forwarded-For: ${second}`, '127.0.0.1', '127.0.0.2')
    expect(await request('203.0.113.7', '192.168.1.9')).toBe('192.168.1.9')
    expect(await request('192.168.1.9', '203.0.113.7')).toBe('unauthorized')
  })
})
