import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { KeyedLock } from '../../src/base/keyed-lock.ts'

it('tasks of one key run one after the other, in the order of the calls; those of other keys beside them', async () => {
  const lock = new KeyedLock()
  const events: string[] = []
  const running = new Map<string, number>()
  let together = 0
  const task = (key: string, number: number) => async () => {
    running.set(key, (running.get(key) ?? 0) + 1)
    expect(running.get(key)).toBe(1)
    together = Math.max(
      together,
      [...running.values()].reduce((sum, each) => sum + each, 0),
    )
    for (let turn = 0; turn < 5; turn++) await setImmediate()
    events.push(`${key}${number}`)
    running.set(key, 0)
    return `${key}${number}`
  }
  const calls = [0, 1, 2, 3].flatMap((number) => ['a', 'b'].map((key) => lock.run(key, task(key, number))))
  expect(await Promise.all(calls)).toEqual(['a0', 'b0', 'a1', 'b1', 'a2', 'b2', 'a3', 'b3'])
  expect(events.filter((event) => event.startsWith('a'))).toEqual(['a0', 'a1', 'a2', 'a3'])
  expect(together).toBe(2)
})

it('a task that throws tells its caller, and the next one runs', async () => {
  const lock = new KeyedLock()
  const first = lock.run('a', async () => {
    await setImmediate()
    throw new Error('broken')
  })
  const second = lock.run('a', async () => 'whole')
  await expect(first).rejects.toThrow('broken')
  expect(await second).toBe('whole')
})

it('locks taken within others in one order never wait for each other', async () => {
  const [outer, inner] = [new KeyedLock(), new KeyedLock()]
  const keys = Array.from({ length: 200 }, (_, index) => [String(index % 7), String(index % 5)] as const)
  const results = await Promise.all(
    keys.map(([a, b], index) => outer.run(a, () => inner.run(b, async () => setImmediate(index)))),
  )
  expect(results).toEqual([...keys.keys()])
})
