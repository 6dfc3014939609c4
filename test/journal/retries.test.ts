import { describe, expect, it } from 'vitest'
import { AppError, type ErrorCode } from '../../src/errors.ts'
import { Retries } from '../../src/journal/retries.ts'

function newRetries() {
  const told: string[] = []
  const log = {
    info: (text: string) => told.push(`info ${text}`),
    warn: (_: object, text: string) => told.push(`warn ${text}`),
    error: (_: object, text: string) => told.push(`error ${text}`),
  }
  return { retries: new Retries(log as never, 'the journal'), told }
}

const failure = (code: ErrorCode) => new AppError(code, 'it did not work')

describe('tries in the background', () => {
  it('say once what is wrong and once that it is over, and need no next one after a success', () => {
    const { retries, told } = newRetries()
    expect(retries.delay).toBeUndefined()
    retries.succeeded()
    for (let tries = 0; tries < 3; tries++) retries.failed(failure('disk_full'))
    retries.failed(new Error('a defect'))
    retries.succeeded()
    retries.succeeded()
    expect(told.map((line) => line.split(' ')[0])).toEqual(['warn', 'error', 'info'])
    expect(retries.delay).toBeUndefined()
  })

  it('are in trouble when more than one has failed in a row, and drive and database are there', () => {
    const { retries } = newRetries()
    const reasons = (...codes: ErrorCode[]) =>
      codes.map((code) => {
        retries.failed(failure(code))
        return retries.lasting?.reason?.code
      })
    expect(reasons('drive_missing', 'database_unavailable')).toEqual([undefined, undefined])
    expect(reasons('drive_error', 'drive_error', 'disk_full')).toEqual([undefined, 'drive_error', 'disk_full'])
    retries.succeeded()
    expect(retries.lasting).toBeUndefined()
    retries.failed(new Error('a defect'))
    retries.failed(new Error('a defect'))
    expect(retries.lasting).toMatchObject({ reason: undefined, since: expect.any(Date) })
  })

  it('come rarer and rarer for a drive that can’t be written, but not for one that is full or away', () => {
    const delays = (code: ErrorCode) => {
      const { retries } = newRetries()
      return Array.from({ length: 10 }, () => {
        retries.failed(failure(code))
        return retries.delay
      })
    }
    expect(delays('drive_error').slice(0, 3)).toEqual([5_000, 10_000, 20_000])
    expect(delays('drive_error').at(-1)).toBe(300_000)
    for (const code of ['disk_full', 'drive_missing', 'database_unavailable'] as const) {
      expect(new Set(delays(code))).toEqual(new Set([5_000]))
    }
  })

  it('leave it to others to say that the drive or the database is away', () => {
    const { retries, told } = newRetries()
    retries.failed(failure('drive_missing'))
    retries.failed(failure('database_unavailable'))
    retries.succeeded()
    expect(told).toEqual([])
  })
})
