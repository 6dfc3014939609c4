import { describe, expect, it } from 'vitest'
import type { LibraryPath, MonthFolder } from '../../src/format/layout.ts'
import { PendingChanges } from '../../src/journal/pending.ts'

const folder = '2024/07' as MonthFolder
const path = '2024/07/a.jpg' as LibraryPath

describe('pending changes', () => {
  it('are each kept once, and taken out in portions', () => {
    const pending = new PendingChanges()
    expect(pending.take(10)).toBeUndefined()
    pending.add({ backups: [1, 2, 1], originals: [path, path] })
    pending.add({ backups: [2, 3], ignored: [1], sums: [folder, folder] })
    expect(pending.size).toBe(6)
    expect(pending.take(2)).toEqual({ backups: [1, 2], originals: [], ignored: [], sums: [] })
    expect(pending.take(2)).toEqual({ backups: [3], originals: [path], ignored: [], sums: [] })
    expect(pending.take(2)).toEqual({ backups: [], originals: [], ignored: [1], sums: [folder] })
    expect(pending.take(2)).toBeUndefined()
  })

  it('are forgotten when there are too many, which is said', () => {
    const pending = new PendingChanges()
    const ids = Array.from({ length: 200_000 }, (_, index) => index)
    expect(pending.add({ backups: ids })).toBe(true)
    expect(pending.add({ ignored: [1] })).toBe(false)
    expect(pending.size).toBe(0)
    expect(pending.add({ ignored: [1] })).toBe(true)
  })
})
