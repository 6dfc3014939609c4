import { expect, it } from 'vitest'
import { CONNECTIONS, REQUESTS, UPLOADS } from '../../../src/base/budgets.ts'
import { lastHolder, Shares } from '../../../src/http/limits/shares.ts'

/** As many as that address gets by ones. */
function takeAll(shares: Shares, address: string): number {
  const holding = shares.open(address)
  for (let count = 0; ; count++) if (!holding.take(1)) return count
}

it('an address has its share, an IPv6 network twice of it, however many addresses are used there', () => {
  const shares = new Shares({ all: 100, each: 10 })
  expect(takeAll(shares, '192.168.1.5')).toBe(10)
  expect(takeAll(shares, '::ffff:192.168.1.5')).toBe(0)
  expect(takeAll(shares, 'fe80::1%eth0')).toBe(10)
  expect(takeAll(shares, 'fe80::2')).toBe(10)
  expect(takeAll(shares, 'fe80::3')).toBe(0)
  expect(takeAll(shares, 'fe80:0:0:1::3')).toBe(10)
  expect(lastHolder('fd00::1:2:3:4')).toBe(lastHolder('fd00::5'))
})

it.each(Object.entries({ CONNECTIONS, REQUESTS, UPLOADS }))(
  'of %s, a guest on one address of an IPv6 network leaves room for the phones there, and for all others',
  (_, share) => {
    const shares = new Shares(share)
    expect(takeAll(shares, 'fd00::66')).toBe(share.each)
    expect(takeAll(shares, 'fd00::5')).toBeGreaterThanOrEqual(share.each / 2)
    expect(takeAll(shares, 'fd00::6')).toBe(0)
    expect(takeAll(shares, '192.168.1.5')).toBeGreaterThanOrEqual(share.each / 2)
  },
)

it('a few addresses that take what they can leave something for the next one', () => {
  const shares = new Shares({ all: 100, each: 50 })
  const taken = Array.from({ length: 5 }, (_, n) => takeAll(shares, `10.0.0.${n}`))
  expect(taken.reduce((sum, count) => sum + count, 0)).toBeLessThan(100)
  expect(takeAll(shares, '192.168.1.5')).toBeGreaterThan(0)
})

it('what is given back goes to who waits, and is given back once', async () => {
  const shares = new Shares({ all: 10, each: 2 })
  const first = shares.open('a')
  expect(first.take(2)).toBe(true)
  const second = shares.open('a')
  expect(await second.takeInTurn(1, AbortSignal.abort())).toBe(false)
  const turn = second.takeInTurn(2, new AbortController().signal)
  first.release()
  first.release()
  expect(await turn).toBe(true)
  expect(shares.open('a').take(1)).toBe(false)
  second.release()
  expect(shares.open('a').take(2)).toBe(true)
})

it('what is left is held on to, and never becomes more', async () => {
  const shares = new Shares({ all: 10, each: 8 })
  const holding = shares.open('a')
  expect(holding.take(4)).toBe(true)
  const turn = shares.open('b').takeInTurn(4, new AbortController().signal)
  holding.release(1)
  expect(await turn).toBe(true)
  holding.release(9)
  expect(shares.open('c').take(3)).toBe(true)
  expect(shares.open('c').take(2)).toBe(false)
  holding.release()
  expect(shares.open('d').take(1)).toBe(true)
})

it('who waits hears that others of its address have ended, and of nobody else', async () => {
  const shares = new Shares({ all: 20, each: 2 })
  const [first, second, third, other] = ['a', 'a', 'a', 'b'].map((address) => shares.open(address))
  for (const holding of [first, second, other]) holding?.take(1)
  let moved = 0
  const turn = third?.takeInTurn(2, new AbortController().signal, () => moved++)
  other?.release()
  expect(moved).toBe(0)
  first?.release()
  expect(moved).toBe(1)
  second?.release()
  expect(await turn).toBe(true)
})

it('without an address only all together are bounded', () => {
  const proxy = new Shares({ all: 10, each: 2 }).open(undefined)
  expect(proxy.take(10)).toBe(true)
  expect(proxy.take(1)).toBe(false)
})
