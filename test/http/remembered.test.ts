import { expect, it } from 'vitest'
import { withResolvers } from '../../src/base/resolvers.ts'
import { Remembered } from '../../src/http/remembered.ts'

it('makes an answer once, whoever asks for it, until something has changed', async () => {
  let made = 0
  const remembered = new Remembered()
  const ask = () => remembered.answer('question', async () => ({ made: ++made }))
  expect(await Promise.all([ask(), ask()])).toEqual(['{"made":1}', '{"made":1}'])
  expect(await ask()).toBe('{"made":1}')
  remembered.forget()
  expect(await ask()).toBe('{"made":2}')
})

it('does not take an answer that was begun before a change for one after it', async () => {
  const remembered = new Remembered()
  const { promise, resolve } = withResolvers<string>()
  const before = remembered.answer('question', () => promise)
  remembered.forget()
  expect(await remembered.answer('question', async () => 'after')).toBe('"after"')
  resolve('before')
  expect(await before).toBe('"before"')
  expect(await remembered.answer('question', async () => 'anew')).toBe('"after"')
})

it('makes an answer anew when it would rest on something else, though nothing was changed here', async () => {
  let made = 0
  const remembered = new Remembered()
  const ask = (free: string) => remembered.answer('question', async () => `${free}, ${++made}`, free)
  expect([await ask('9 GB'), await ask('9 GB'), await ask('8 GB')]).toEqual(['"9 GB, 1"', '"9 GB, 1"', '"8 GB, 2"'])
})

it('does not remember what failed', async () => {
  const remembered = new Remembered()
  await expect(remembered.answer('question', () => Promise.reject(new Error('away')))).rejects.toThrow('away')
  expect(await remembered.answer('question', async () => 'back')).toBe('"back"')
})
