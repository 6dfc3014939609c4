import { constants } from 'node:os'
import { join } from 'node:path'
import { getSystemErrorMap } from 'node:util'
import type { Entry } from '../../src/storage/entry.ts'
import { io } from '../../src/storage/io.ts'
import type { Durability } from './durability.ts'

/** A function of the seam through which every touch of the drive goes. */
export type Call = keyof typeof io

/**
 * How a call goes wrong: nothing is done, for a defect of the drive or want of room; it is done, and reported as
 * failed; it takes or gives only a part, as it may; it takes only a part, because the drive is full, which the next
 * call of its kind is told.
 */
export type Fault = 'EIO' | 'ENOSPC' | 'EIO, but done' | 'short' | 'short, then ENOSPC'

interface Treatment {
  /** As errors name it. */
  syscall: string
  /** What of it can happen to this call on a real drive. */
  faults: readonly Fault[]
  /** Answers on the spot instead of with a promise. */
  isSync?: true
}

const LOOKING = ['EIO'] as const
const CHANGING = ['EIO', 'ENOSPC', 'EIO, but done'] as const
const FLUSHING = ['EIO', 'ENOSPC'] as const
/** Whatever it answers, the descriptor is closed. */
const CLOSING = ['EIO, but done'] as const

/** Every function of the seam. */
export const TREATMENTS = {
  open: { syscall: 'open', faults: CHANGING },
  writev: { syscall: 'write', faults: [...CHANGING, 'short', 'short, then ENOSPC'] },
  read: { syscall: 'read', faults: [...LOOKING, 'short'] },
  datasync: { syscall: 'fdatasync', faults: FLUSHING },
  close: { syscall: 'close', faults: CLOSING },
  link: { syscall: 'link', faults: CHANGING },
  rename: { syscall: 'rename', faults: CHANGING },
  unlink: { syscall: 'unlink', faults: ['EIO', 'EIO, but done'] },
  mkdir: { syscall: 'mkdir', faults: CHANGING },
  mkdirs: { syscall: 'mkdir', faults: CHANGING },
  rmdir: { syscall: 'rmdir', faults: ['EIO', 'EIO, but done'] },
  list: { syscall: 'scandir', faults: LOOKING },
  unlinkFile: { syscall: 'unlink', faults: ['EIO', 'EIO, but done'] },
  stat: { syscall: 'stat', faults: LOOKING },
  openOwn: { syscall: 'open', faults: LOOKING },
  openFolder: { syscall: 'open', faults: LOOKING },
  closeNow: { syscall: 'close', faults: CLOSING, isSync: true },
  fsync: { syscall: 'fsync', faults: FLUSHING },
  mayWrite: { syscall: 'access', faults: LOOKING },
  lstat: { syscall: 'lstat', faults: LOOKING },
  readText: { syscall: 'read', faults: LOOKING },
  readFile: { syscall: 'read', faults: LOOKING },
  statfs: { syscall: 'statfs', faults: LOOKING },
} as const satisfies Record<Call, Treatment>

/** One thing that goes wrong, once. */
export interface Plan {
  call: Call
  /** From 1; counted from the moment of arming. */
  nth: number
  fault: Fault
}

/** Everything that can go wrong with a first call of each kind, or only of these `calls`. */
export function plansOf(calls: readonly Call[] = Object.keys(TREATMENTS) as Call[]): Omit<Plan, 'nth'>[] {
  return calls.flatMap((call) => TREATMENTS[call].faults.map((fault) => ({ call, fault })))
}

/** Stories for `it.each` and `%s`; of a `$name` Vitest shows the beginning alone. */
export function named<Story extends { name: string }>(stories: readonly Story[]): [name: string, story: Story][] {
  return stories.map((story) => [story.name, story])
}

/**
 * Runs `attempt` without a failure, then once for each call that it has made and each of `plans` for such a call.
 * `attempt` arms the plan and returns the calls that it made from then on. Returns the number of failures.
 */
export async function withEachFailure(
  plans: readonly Omit<Plan, 'nth'>[],
  attempt: (plan: Plan | undefined) => Promise<ReadonlyMap<Call, number>>,
): Promise<number> {
  const calls = await attempt(undefined)
  let failures = 0
  for (const plan of plans) {
    for (let nth = 1; nth <= (calls.get(plan.call) ?? 0); nth++) {
      failures++
      try {
        await attempt({ ...plan, nth })
      } catch (error) {
        if (error instanceof Error) error.message = `${plan.call} ${nth} (${plan.fault}): ${error.message}`
        throw error
      }
    }
  }
  return failures
}

export interface Faults {
  /** From now on calls are counted, and one fails as planned. */
  arm(plan: Plan | undefined): void
  /** No more faults. Returns how often each function has been called since `arm`, and whether the failure has come. */
  disarm(): { calls: Map<Call, number>; hasFailed: boolean }
  /** How often each function has been called since `arm`, or since the last call of this. */
  count(): Map<Call, number>
  /**
   * Makes the drive another kind of drive: `answer` is called instead of the function of that name. `undefined` undoes
   * it.
   */
  behave(call: Call, answer: ((...args: readonly unknown[]) => unknown) | undefined): void
  /** Has every call told to `durability` from now on. */
  watch(durability: Durability): void
  /** Gives the seam back as it was. */
  restore(): void
}

type Anything = (...args: readonly unknown[]) => unknown

/** Wraps the functions of the seam, in this process. */
export function injectFaults(): Faults {
  const seam = io as unknown as Record<Call, Anything>
  const originals = { ...seam }
  const behaviours = new Map<Call, Anything>()
  let calls = new Map<Call, number>()
  let armed: Plan | undefined
  let hasFailed = false
  let isFull: Call | undefined
  let durability: Durability | undefined

  const perform = (call: Call, args: readonly unknown[]): unknown => {
    const really = behaviours.get(call) ?? originals[call]
    if (durability === undefined) return really(...args)
    const watched = durability.begin(call, args)
    const failed = (error: unknown) => {
      watched.failed()
      throw error
    }
    if ('isSync' in TREATMENTS[call]) {
      try {
        const result = really(...args)
        watched.done(result)
        return result
      } catch (error) {
        return failed(error)
      }
    }
    return (really(...args) as Promise<unknown>).then((result) => {
      watched.done(result)
      return result
    }, failed)
  }

  const fail = (call: Call, args: readonly unknown[], fault: Fault): unknown => {
    const error = systemError(fault === 'ENOSPC' ? 'ENOSPC' : 'EIO', TREATMENTS[call].syscall, args)
    if (fault === 'EIO' || fault === 'ENOSPC') {
      durability?.begin(call, args).failed()
      if ('isSync' in TREATMENTS[call]) throw error
      return Promise.reject(error)
    }
    if (fault === 'EIO, but done') {
      if ('isSync' in TREATMENTS[call]) {
        perform(call, args)
        throw error
      }
      return (perform(call, args) as Promise<unknown>).then((result) => {
        // Nobody will ever know of this descriptor.
        if (call === 'open') return (originals.close(result) as Promise<unknown>).then(() => Promise.reject(error))
        throw error
      })
    }
    if (fault === 'short, then ENOSPC') isFull = call
    return perform(call, shortened(call, args))
  }

  for (const call of Object.keys(TREATMENTS) as Call[]) {
    seam[call] = (...args) => {
      const nth = (calls.get(call) ?? 0) + 1
      calls.set(call, nth)
      if (isFull === call) {
        isFull = undefined
        return fail(call, args, 'ENOSPC')
      }
      if (armed === undefined || hasFailed || armed.call !== call || armed.nth !== nth) return perform(call, args)
      hasFailed = true
      return fail(call, args, armed.fault)
    }
  }
  return {
    arm: (plan) => {
      armed = plan
      hasFailed = false
      calls = new Map()
    },
    disarm: () => {
      armed = undefined
      isFull = undefined
      return { calls: new Map(calls), hasFailed }
    },
    count: () => {
      const counted = calls
      calls = new Map()
      return counted
    },
    behave: (call, answer) => {
      if (answer === undefined) behaviours.delete(call)
      else behaviours.set(call, answer)
    },
    watch: (one) => {
      durability = one
    },
    restore: () => {
      Object.assign(seam, originals)
    },
  }
}

/** The same call with less to do: half of the bytes. */
function shortened(call: Call, args: readonly unknown[]): readonly unknown[] {
  if (call === 'read') {
    const [file, buffer, offset, length, position] = args as [number, Buffer, number, number, number]
    return [file, buffer, offset, Math.ceil(length / 2), position]
  }
  const [file, chunks, position] = args as [number, Buffer[], number]
  const bytes = Buffer.concat(chunks)
  return [file, [bytes.subarray(0, Math.ceil(bytes.length / 2))], position]
}

/** The absolute path that a call of the seam was given, if it was given one. */
export function pathOf(argument: unknown): string | undefined {
  if (typeof argument === 'string' && argument.startsWith('/')) return argument
  if (typeof argument !== 'object' || argument === null || !('root' in argument)) return undefined
  const { root, path } = argument as Entry
  return join(root.folder, path)
}

/** As Node makes it from what the system answers. */
export function systemError(code: 'EIO' | 'ENOSPC' | 'EPERM', syscall: string, args: readonly unknown[]): Error {
  const errno = -constants.errno[code]
  const [path, dest] = args.map(pathOf)
  const names = [path, dest].flatMap((name) => name ?? []).map((name) => `'${name}'`)
  const message = `${code}: ${getSystemErrorMap().get(errno)?.[1]}, ${[syscall, names.join(' -> ')].join(' ').trimEnd()}`
  return Object.assign(new Error(message), {
    errno,
    code,
    syscall,
    ...(path !== undefined && { path }),
    ...(dest !== undefined && { dest }),
  })
}
