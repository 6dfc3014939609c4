import { createHash } from 'node:crypto'
import { Worker } from 'node:worker_threads'
import { AppError } from '../../errors.ts'
import type { Checksum } from '../../media/checksum.ts'
import type { Hasher, Hashing } from './hasher.ts'

/** A power of two: jobs are counted in 32 bits and wrap around. */
const SLOTS = 8
const SLOT_BYTES = 1024 * 1024
/**
 * Files up to this size are hashed on the spot: handing them over takes longer. A Raspberry Pi 4 needs 1 ms for as
 * much.
 */
const SMALL_BYTES = 128 * 1024

/** What the two threads share: see `hash-worker.js`, which reads it. */
const SUBMITTED = 0
const COMPLETED = 1
const JOBS = 2
/**
 * Of a job: which hashing, how many bytes, what to do. Of the answer to a digest: the number of its job, and of how
 * many bytes it is.
 */
const JOB_FIELDS = 5
const ANSWER = 3
const DIGEST_BYTES = 32

type Task = 'update' | 'digest' | 'abandon'
const TASKS: Record<Task, number> = { update: 0, digest: 1, abandon: 2 }

/**
 * Computes SHA-256 in one thread of its own, which it starts when it is needed first and when the last one has died.
 * Bytes are copied into a ring of 8 slots of 1 MiB, in the order in which they came: each upload waits with at most
 * what it has at hand, and a slot is taken only for as long as hashing takes, so that an upload that stalls keeps
 * nothing from the others.
 */
export class HashThread implements Hasher {
  #ring: Ring | undefined
  #last = 0

  begin(): Hashing {
    this.#last = (this.#last + 1) | 0
    return new ThreadHashing(this.#last, () => this.#running())
  }

  /** Ends the thread. What it was hashing fails; whoever begins another one starts it again. */
  async close(): Promise<void> {
    await this.#ring?.end()
  }

  #running(): Ring {
    if (this.#ring === undefined || this.#ring.hasEnded) this.#ring = new Ring()
    return this.#ring
  }
}

class ThreadHashing implements Hashing {
  readonly #id: number
  readonly #running: () => Ring
  /** The one that knows the bytes so far. */
  #ring: Ring | undefined
  #length = 0

  constructor(id: number, running: () => Ring) {
    this.#id = id
    this.#running = running
  }

  async update(chunks: readonly Buffer[]): Promise<void> {
    this.#ring ??= this.#running()
    await this.#submit(this.#ring, chunks, 'update')
  }

  async digest(chunks: readonly Buffer[]): Promise<Checksum> {
    if (this.#ring === undefined && lengthOf(chunks) <= SMALL_BYTES) {
      const hash = createHash('sha256')
      for (const chunk of chunks) hash.update(chunk)
      return hash.digest('hex') as Checksum
    }
    const ring = this.#ring ?? this.#running()
    this.#ring = undefined
    return (await this.#submit(ring, chunks, 'digest')).toString('hex') as Checksum
  }

  abandon(): void {
    // A thread that has ended knows of it no more.
    this.#ring?.submit(this.#id, [], 'abandon', this.#length).catch(() => {})
    this.#ring = undefined
  }

  #submit(ring: Ring, chunks: readonly Buffer[], task: Task): Promise<Buffer> {
    this.#length += lengthOf(chunks)
    return ring.submit(this.#id, chunks, task, this.#length)
  }
}

/** What waits for a slot. */
interface Job {
  id: number
  /** At most `SLOT_BYTES`. */
  chunks: readonly Buffer[]
  task: Task
  /** Of all that the hashing has been given with it. */
  total: number
  resolve(digest: Buffer): void
  reject(reason: AppError): void
}

/** The thread, and the memory that it shares with this one. */
class Ring {
  readonly #control = new Int32Array(new SharedArrayBuffer(4 * (JOBS + SLOTS * JOB_FIELDS)))
  readonly #bytes = Buffer.from(new SharedArrayBuffer(SLOTS * SLOT_BYTES))
  readonly #digests = Buffer.from(new SharedArrayBuffer(SLOTS * DIGEST_BYTES))
  readonly #worker: Worker
  readonly #waiting: Job[] = []
  /** Digests that are being computed, with the numbers of their jobs. */
  readonly #computing: { job: Job; number: number }[] = []
  #submitted = 0
  #completed = 0
  #isWatched = false
  #failure: AppError | undefined

  constructor() {
    this.#worker = new Worker(new URL('./hash-worker.js', import.meta.url), {
      name: 'hash',
      execArgv: [],
      resourceLimits: { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 32 },
      workerData: {
        control: this.#control,
        bytes: this.#bytes.buffer,
        digests: this.#digests.buffer,
        slots: SLOTS,
        slotBytes: SLOT_BYTES,
      },
    })
    this.#worker.unref()
    this.#worker.on('error', (cause) => this.#fail(cause))
    this.#worker.on('exit', (code) =>
      this.#fail(new Error(`the thread that computes checksums ended with code ${code}`)),
    )
  }

  get hasEnded(): boolean {
    return this.#failure !== undefined
  }

  async end(): Promise<void> {
    await this.#worker.terminate()
  }

  /**
   * Resolves when the bytes have been taken, for the task `digest` when it is known, with it; `total` is how many bytes
   * that is of. Throws `hashing_failed` when the thread has ended, which has then lost what it knew.
   */
  async submit(id: number, chunks: readonly Buffer[], task: Task, total: number): Promise<Buffer> {
    const pieces = cut(chunks)
    const taken = pieces.map((piece, index) => {
      const isLast = index === pieces.length - 1
      return new Promise<Buffer>((resolve, reject) => {
        this.#waiting.push({ id, chunks: piece, task: isLast ? task : 'update', total, resolve, reject })
      })
    })
    this.#advance()
    // All of them: what one refuses the next ones would, with nobody to hear it.
    const digests = await Promise.all(taken)
    return digests.at(-1) ?? NOTHING
  }

  /** Takes note of what the thread has done, and gives it what there is room for. */
  #advance(): void {
    if (this.#failure !== undefined) {
      this.#refuseAll(this.#failure)
      return
    }
    this.#completed = Atomics.load(this.#control, COMPLETED)
    for (let next = this.#computed(); next !== undefined; next = this.#computed()) this.#answer(next)
    while (this.#waiting.length > 0 && ((this.#submitted - this.#completed) | 0) < SLOTS) {
      const job = this.#waiting.shift()
      if (job !== undefined) this.#give(job)
    }
    if (!this.#isWatched && this.#isAwaited) void this.#watch()
  }

  /** Takes the oldest digest that is known now. */
  #computed(): { job: Job; number: number } | undefined {
    const [next] = this.#computing
    return next !== undefined && isBefore(next.number, this.#completed) ? this.#computing.shift() : undefined
  }

  /** Never believed unseen: a wrong checksum would make one photo pass for another, and be thrown away. */
  #answer({ job, number }: { job: Job; number: number }): void {
    const slot = number & (SLOTS - 1)
    const at = JOBS + slot * JOB_FIELDS + ANSWER
    if (this.#control[at] === number && this.#control[at + 1] === (job.total | 0)) {
      job.resolve(Buffer.from(this.#digests.subarray(slot * DIGEST_BYTES, (slot + 1) * DIGEST_BYTES)))
    } else {
      job.reject(this.#fail(new Error('the thread that computes checksums has answered what it was not asked')))
      void this.end()
    }
  }

  #give(job: Job): void {
    const number = this.#submitted
    const slot = number & (SLOTS - 1)
    let end = slot * SLOT_BYTES
    for (const chunk of job.chunks) end += chunk.copy(this.#bytes, end)
    this.#control.set([job.id, end - slot * SLOT_BYTES, TASKS[job.task]], JOBS + slot * JOB_FIELDS)
    this.#submitted = (number + 1) | 0
    Atomics.store(this.#control, SUBMITTED, this.#submitted)
    Atomics.notify(this.#control, SUBMITTED)
    if (job.task === 'digest') this.#computing.push({ job, number })
    else job.resolve(NOTHING)
  }

  /** Whether anybody waits for the thread: for a slot, or a digest. */
  get #isAwaited(): boolean {
    return this.#waiting.length > 0 || this.#computing.length > 0
  }

  /** Advances each time that the thread has done something, for as long as anybody waits. */
  async #watch(): Promise<void> {
    this.#isWatched = true
    this.#worker.ref()
    while (this.#isAwaited) {
      const completed = Atomics.waitAsync(this.#control, COMPLETED, this.#completed)
      if (completed.async) await completed.value
      this.#advance()
    }
    this.#worker.unref()
    this.#isWatched = false
  }

  #fail(cause: Error): AppError {
    this.#failure ??= new AppError(
      'hashing_failed',
      'The checksum of this file could not be computed: the part of the server that does that has ended. It is started again; send the file again.',
      { cause },
    )
    this.#refuseAll(this.#failure)
    // Nobody else would end the watch.
    Atomics.notify(this.#control, COMPLETED)
    return this.#failure
  }

  #refuseAll(reason: AppError): void {
    for (const job of this.#waiting.splice(0)) job.reject(reason)
    for (const { job } of this.#computing.splice(0)) job.reject(reason)
  }
}

const NOTHING = Buffer.alloc(0)

/** Whether `number` comes before `other`, both counted in 32 bits. */
function isBefore(number: number, other: number): boolean {
  return ((other - number) | 0) > 0
}

function lengthOf(chunks: readonly Buffer[]): number {
  return chunks.reduce((sum, { byteLength }) => sum + byteLength, 0)
}

/** Cuts the bytes of `chunks` into pieces that a slot holds; one without bytes if there are none. */
function cut(chunks: readonly Buffer[]): Buffer[][] {
  const pieces: Buffer[][] = [[]]
  let room = SLOT_BYTES
  for (const chunk of chunks) {
    for (let rest = chunk; rest.byteLength > 0; ) {
      if (room === 0) {
        pieces.push([])
        room = SLOT_BYTES
      }
      const part = rest.subarray(0, room)
      pieces.at(-1)?.push(part)
      room -= part.byteLength
      rest = rest.subarray(part.byteLength)
    }
  }
  return pieces
}
