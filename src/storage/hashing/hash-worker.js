/*
 * The thread of hash-thread.ts, which says what lies where in the memory that both share. In JavaScript, since Node 20
 * runs it as it stands. It never comes to its event loop: it waits for jobs, does one after the other, and counts what
 * it has done.
 */

import { createHash } from 'node:crypto'
import { workerData } from 'node:worker_threads'

const SUBMITTED = 0
const COMPLETED = 1
const JOBS = 2
const JOB_FIELDS = 5
const DIGEST_BYTES = 32
const UPDATE = 0
const DIGEST = 1

const { control, bytes, digests, slots, slotBytes } = workerData
const hashes = new Map()

for (let job = 0; ; job = (job + 1) | 0) {
  // What wakes it may be the news of a job that it has done already: the other thread counts first, and notifies a
  // moment later.
  while (Atomics.load(control, SUBMITTED) === job) Atomics.wait(control, SUBMITTED, job)
  const slot = job & (slots - 1)
  const at = JOBS + slot * JOB_FIELDS
  const [id, length, task] = control.subarray(at, at + JOB_FIELDS)
  const hashing = hashes.get(id) ?? { hash: createHash('sha256'), length: 0 }
  if (length > 0) hashing.hash.update(new Uint8Array(bytes, slot * slotBytes, length))
  hashing.length = (hashing.length + length) | 0
  if (task === UPDATE) hashes.set(id, hashing)
  else hashes.delete(id)
  if (task === DIGEST) {
    new Uint8Array(digests, slot * DIGEST_BYTES, DIGEST_BYTES).set(hashing.hash.digest())
    control.set([job, hashing.length], at + 3)
  }
  Atomics.store(control, COMPLETED, (job + 1) | 0)
  Atomics.notify(control, COMPLETED)
}
