import { expect, it } from 'vitest'
import { Arrivals } from '../../src/server/arrivals.ts'

it('says what has arrived in one line, by phone and kind, and nothing when nothing has', () => {
  const lines: string[] = []
  const shown: string[] = []
  const arrivals = new Arrivals({ info: (line) => lines.push(line) }, (line) => shown.push(line))
  arrivals.tell()
  for (let n = 0; n < 12; n++) arrivals.note({ deviceId: 'iPhone 15', kind: 'photo', isNew: true })
  arrivals.note({ deviceId: 'iPad\u001b[31m\n', kind: 'photo', isNew: true })
  arrivals.note({ deviceId: 'iPad\u001b[31m\n', kind: 'video', isNew: true })
  arrivals.note({ deviceId: null, kind: 'photo', isNew: false })
  expect(lines).toEqual([])
  expect(shown).toContain('  … 1 photo from "iPhone 15"')
  arrivals.tell()
  arrivals.tell()
  expect(lines).toHaveLength(1)
  expect(lines[0]).toMatch(
    /^12 photos from "iPhone 15", 1 photo and 1 video from "iPad 31m", 1 that was there already from /,
  )
  // biome-ignore lint/suspicious/noControlCharactersInRegex: none may reach a terminal.
  expect(lines[0]).not.toMatch(/[\u0000-\u001f]/)
  expect(shown.at(-1)).toBe('')
})
