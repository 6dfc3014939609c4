import { describe, expect, it } from 'vitest'
import type { Evidence, KnownOriginal } from '../../src/catalogue/verdict.ts'
import type { Checksum } from '../../src/media/checksum.ts'
import { assess } from '../../src/phones/verdict.ts'
import type { FileState } from '../../src/storage/originals.ts'
import { fc } from '../support/property.ts'

const stored = new Date('2026-03-01T00:00:00Z')
const verified = new Date('2026-03-02T00:00:00Z')
const original: KnownOriginal = {
  path: '2024/07/IMG.JPG',
  checksum: 'ab'.repeat(32) as Checksum,
  size: 100,
  storedAt: stored,
  verifiedAt: verified,
  isLost: false,
  finding: null,
  recheck: false,
  copies: 0,
}
const evidence: Evidence = {
  index: 0,
  original,
  isUnproven: false,
  open: null,
  isPending: false,
  failure: null,
  isIgnored: false,
}
const state: FileState = { size: 100, changedAt: stored.getTime() }

describe('a file', () => {
  it('is safe when all of it is certain', () => {
    expect(assess(evidence, state)).toBe('safe')
  })

  it.each<[string, Partial<Evidence>]>([
    ['not_backed_up', { original: null }],
    ['ignored', { original: null, isIgnored: true }],
    ['ignored', { original: null, isIgnored: true, isPending: true, failure: 'its loss was accepted' }],
    ['not_identified', { original: null, isUnproven: true, isIgnored: true }],
    ['pending', { original: null, isPending: true }],
    ['pending', { isPending: true }],
    ['failed', { failure: 'why' }],
    ['safe', { isIgnored: true, isUnproven: true }],
  ])('is %s with %j', (expected, fields) => {
    expect(assess({ ...evidence, ...fields }, state)).toBe(expected)
  })

  it.each<[string, Partial<KnownOriginal>]>([
    ['missing', { isLost: true, finding: 'missing' }],
    ['missing', { isLost: true }],
    ['corrupt', { isLost: true, finding: 'corrupt' }],
    ['unreadable', { isLost: true, finding: 'unreadable' }],
    ['not_verified', { checksum: null }],
    ['unread', { verifiedAt: null }],
    ['unread', { recheck: true }],
    ['unread', { storedAt: new Date(verified.getTime() + 1) }],
    ['unread', { size: 99 }],
    ['safe', { storedAt: null }],
    ['safe', { storedAt: verified }],
  ])('is %s with an original of %j', (expected, fields) => {
    expect(assess({ ...evidence, original: { ...original, ...fields } }, state)).toBe(expected)
  })

  it.each<[string, FileState | undefined]>([
    ['drive_missing', undefined],
    ['unread', 'absent'],
    ['unread', 'unreadable'],
    ['unread', { size: 101, changedAt: 0 }],
    ['unread', { size: 100, changedAt: verified.getTime() }],
    ['unread', { size: 100, changedAt: verified.getTime() - 2000 }],
    ['safe', { size: 100, changedAt: verified.getTime() - 2001 }],
  ])('is %s with %j on the drive', (expected, found) => {
    expect(assess(evidence, found)).toBe(expected)
  })

  it('is never safe unless it was read back after it was stored and after anybody touched it, and is there', () => {
    const moment = fc.integer({ min: 0, max: 10 }).map((seconds) => seconds * 1000)
    const time = fc.option(moment, { nil: null })
    const date = (at: number | null) => (at === null ? null : new Date(at))
    const lying = fc.constantFrom<FileState | undefined>('absent', 'unreadable', undefined)
    const there = fc.record({ size: fc.integer({ min: 1, max: 2 }), changedAt: moment })
    fc.assert(
      fc.property(
        fc.record({ storedAt: time, verifiedAt: time, isLost: fc.boolean(), recheck: fc.boolean() }),
        fc.record({ isPending: fc.boolean(), isUnproven: fc.boolean(), isIgnored: fc.boolean() }),
        fc.oneof(there, there, lying),
        ({ storedAt, verifiedAt, ...fields }, flags, found) => {
          const known = { ...original, ...fields, size: 1, storedAt: date(storedAt), verifiedAt: date(verifiedAt) }
          const isSafe = assess({ ...evidence, ...flags, original: known }, found) === 'safe'
          const isProven =
            verifiedAt !== null &&
            (storedAt ?? 0) <= verifiedAt &&
            typeof found === 'object' &&
            found.size === 1 &&
            found.changedAt + 2000 < verifiedAt
          expect(isSafe).toBe(isProven && !fields.isLost && !fields.recheck && !flags.isPending)
        },
      ),
    )
  })
})
