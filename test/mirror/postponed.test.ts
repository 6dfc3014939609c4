import { describe, expect, it } from 'vitest'
import { AppError, type ErrorCode } from '../../src/errors.ts'
import { JournalSchedule } from '../../src/mirror/journal-schedule.ts'
import { Postponed } from '../../src/mirror/postponed.ts'
import { sha256 } from '../support/mirrored.ts'

const wanted = (path: string, size: number | null = 100) => ({ path, size, checksum: sha256(Buffer.from(path)) })
const error = (code: ErrorCode) => new AppError(code, `it is ${code}`)
/** Seconds from now. */
const inSeconds = (at: number) => (at - performance.now()) / 1000

describe('what was postponed', () => {
  it('is nothing at first, and never due', () => {
    const postponed = new Postponed()
    expect(postponed.dueAt).toBe(Number.POSITIVE_INFINITY)
    expect(postponed.trouble).toBeUndefined()
    expect(postponed.paths).toEqual([])
  })

  it('is tried again, later each time, until it is forgotten', () => {
    const postponed = new Postponed()
    const pauses: number[] = []
    for (let tries = 0; tries < 10; tries++) {
      postponed.add(wanted('a.jpg'), error('drive_error'))
      pauses.push(inSeconds(postponed.dueAt))
      expect(postponed.trouble).toEqual({ state: 'error', reason: 'The second copy: it is drive_error' })
      expect(postponed.paths).toEqual(['a.jpg'])
      postponed.retry()
      expect(postponed.paths).toEqual([])
      expect(postponed.dueAt).toBe(Number.POSITIVE_INFINITY)
    }
    for (const [index, seconds] of [10, 20, 40, 80, 160, 320, 600, 600, 600, 600].entries()) {
      expect(pauses[index]).toBeGreaterThan(seconds - 1)
      expect(pauses[index]).toBeLessThanOrEqual(seconds)
    }
    postponed.forget()
    postponed.add(wanted('a.jpg'), error('drive_error'))
    expect(inSeconds(postponed.dueAt)).toBeLessThanOrEqual(10)
  })

  it('for want of room says so first, and how much the smallest needs', () => {
    const postponed = new Postponed()
    postponed.add(wanted('a.jpg'), error('drive_error'))
    expect(postponed.needs).toBeUndefined()
    postponed.add(wanted('b.jpg', 300), error('disk_full'))
    postponed.add(wanted('c.jpg', 200), error('disk_full'))
    expect(postponed.needs).toBe(200)
    expect(postponed.trouble).toMatchObject({ state: 'full' })
    postponed.wait()
    expect(inSeconds(postponed.dueAt)).toBeLessThanOrEqual(5)
    expect(postponed.paths).toEqual(['a.jpg', 'b.jpg', 'c.jpg'])
    postponed.retry()
    expect(postponed.needs).toBeUndefined()
  })

  it('is not named one by one when it is too much: nothing is tried before it is due', () => {
    const postponed = new Postponed()
    for (let n = 0; n < 10_001; n++) postponed.add(wanted(`${n}.jpg`), error('disk_full'))
    expect(postponed.paths).toBeUndefined()
    postponed.retry()
    postponed.add(wanted('a.jpg'), error('disk_full'))
    expect(postponed.paths).toEqual(['a.jpg'])
  })
})

describe('the copy of the journal', () => {
  it('is due at once at first, and then only after a change', () => {
    const schedule = new JournalSchedule()
    expect(schedule.isDue).toBe(true)
    schedule.begin()
    schedule.end(false)
    expect(schedule.dueAt).toBe(Number.POSITIVE_INFINITY)
    schedule.noteChange()
    expect(schedule.isDue).toBe(false)
    expect(inSeconds(schedule.dueAt)).toBeGreaterThan(5)
    expect(inSeconds(schedule.dueAt)).toBeLessThanOrEqual(6)
  })

  it('is due once more after a change that the journal may not have had yet', () => {
    const schedule = new JournalSchedule()
    schedule.noteChange()
    schedule.expire()
    schedule.begin()
    schedule.end(false)
    expect(inSeconds(schedule.dueAt)).toBeGreaterThan(5)
    expect(inSeconds(schedule.dueAt)).toBeLessThanOrEqual(6)
  })

  it('is looked at once more when there was something to do, and after a failure', () => {
    const schedule = new JournalSchedule()
    schedule.begin()
    schedule.end(true)
    expect(inSeconds(schedule.dueAt)).toBeLessThanOrEqual(10)
    schedule.begin()
    schedule.retry()
    expect(inSeconds(schedule.dueAt)).toBeGreaterThan(10)
    expect(inSeconds(schedule.dueAt)).toBeLessThanOrEqual(60)
  })
})
