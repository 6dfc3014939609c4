import { describe, expect, it } from 'vitest'
import { FORMS } from './forms.ts'
import { inspectBytes } from './inspecting.ts'

describe('the date of', () => {
  it.each(FORMS.map(({ name, ...form }) => [name, form] as const))('%s is found', async (_, { file, date }) => {
    const found = await inspectBytes(file)
    expect(found.date).toBe(date)
    expect(found.reads).toBeLessThanOrEqual(150)
    expect(found.bytes).toBeLessThanOrEqual(1024 * 1024)
  })
})
