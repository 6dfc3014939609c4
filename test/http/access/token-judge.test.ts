import { beforeEach, describe, expect, it } from 'vitest'
import { WRONG_TOKENS, WRONG_TOKENS_ANSWERED } from '../../../src/base/budgets.ts'
import { AppError } from '../../../src/errors.ts'
import { TokenJudge } from '../../../src/http/access/token-judge.ts'

const TOKEN = 'a-token-of-twenty-characters'
const HOUR_MS = 60 * 60 * 1000

let now: number
let judge: TokenJudge
beforeEach(() => {
  now = 0
  judge = new TokenJudge(TOKEN, () => now)
})

function send(token: string, from = '203.0.113.7'): string {
  try {
    judge.check(`Bearer ${token}`, from)
    return 'open'
  } catch (error) {
    if (error instanceof AppError) return error.code
    throw error
  }
}

const guess = (count: number, from?: string) =>
  Array.from({ length: count }, (_, number) => send(`wrong-${number}`, from))

describe('wrong tokens', () => {
  it('of one address are told to wait after some, and the right one passes all the same', () => {
    expect(guess(WRONG_TOKENS_ANSWERED)).toEqual(Array(WRONG_TOKENS_ANSWERED).fill('unauthorized'))
    expect(new Set(guess(WRONG_TOKENS.each - WRONG_TOKENS_ANSWERED))).toEqual(new Set(['too_many_guesses']))
    expect(send('wrong', '203.0.113.8')).toBe('unauthorized')
    now += 5_000
    expect(send(TOKEN)).toBe('open')
  })

  it('of one address beyond its share are not compared, the right one neither, until the hour drains', () => {
    guess(WRONG_TOKENS.each)
    expect(send(TOKEN)).toBe('too_many_guesses')
    expect(send(TOKEN, '203.0.113.8')).toBe('open')
    now += (2 * HOUR_MS) / WRONG_TOKENS.each
    expect(send(TOKEN)).toBe('open')
    now += HOUR_MS
    expect(send('wrong')).toBe('unauthorized')
  })

  it('of many addresses are not compared beyond the bound of all, but for who has sent the right one before', () => {
    expect(send(TOKEN, 'a phone')).toBe('open')
    const addresses = WRONG_TOKENS.all / WRONG_TOKENS_ANSWERED
    for (let address = 0; address < addresses; address++) guess(WRONG_TOKENS_ANSWERED, `guesser ${address}`)
    expect(send(TOKEN, 'another phone')).toBe('too_many_guesses')
    expect(send('wrong', 'a guesser')).toBe('too_many_guesses')
    expect(send(TOKEN, 'a phone')).toBe('open')
    guess(WRONG_TOKENS.each, 'a phone')
    expect(send(TOKEN, 'a phone')).toBe('too_many_guesses')
  })

  it('are compared at most as often in a day as the budget says, however many are sent', () => {
    let compared = 0
    for (let second = 0; second < 24 * 60 * 60; second += 10) {
      now = second * 1000
      // Whether it was compared shows in the right one's passing.
      for (let burst = 0; burst < 20; burst++) {
        const isCompared = send(TOKEN) === 'open'
        send('wrong')
        if (isCompared) compared++
      }
    }
    expect(compared).toBeLessThanOrEqual(25 * WRONG_TOKENS.each)
  })

  it('are not what sends none: that is refused and costs nothing', () => {
    for (let request = 0; request < 2 * WRONG_TOKENS.each; request++) {
      expect(() => judge.check(request % 2 === 0 ? undefined : 'Basic YTpi', '203.0.113.7')).toThrow(
        /home network only/,
      )
    }
    expect(send('wrong')).toBe('unauthorized')
    expect(send(TOKEN)).toBe('open')
  })
})
