/*
 * The thread of hash-thread.ts, which says what lies where in the memory that both share. In JavaScript, since Node 20 runs it as it stands.
 * It never comes to its event loop: it waits for jobs, does one after the other, and counts what it has done.
 */

import { createHash } from 'node:crypto'
import { workerData } from 'node:worker_threads'

const SUBMITTED = 0
const COMPLETED = 1
const JOBS = 2
const JOB_FIELDS = 3
const DIGEST_BYTES = 32
const UPDATE = 0
const DIGEST = 1

const { control, bytes, digests, slots, slotBytes } = workerData
const hashes = new Map()

for (let job = 0; ; job = (job + 1) | 0) {
  // Returns at once if there is one already.
  Atomics.wait(control, SUBMITTED, job)
  const slot = job & (slots - 1)
  const at = JOBS + slot * JOB_FIELDS
  const [id, length, task] = control.subarray(at, at + JOB_FIELDS)
  const hash = hashes.get(id) ?? createHash('sha256')
  if (length > 0) hash.update(new Uint8Array(bytes, slot * slotBytes, length))
  if (task === UPDATE) hashes.set(id, hash)
  else hashes.delete(id)
  if (task === DIGEST) new Uint8Array(digests, slot * DIGEST_BYTES, DIGEST_BYTES).set(hash.digest())
  Atomics.store(control, COMPLETED, (job + 1) | 0)
  Atomics.notify(control, COMPLETED)
}
