import { inPortions, workThrough } from '../base/work-through.ts'
import { listSelected, type Provable, type Proven, recordVerified, type Selection } from '../catalogue/verification.ts'
import type { Pause } from '../storage/direct-read.ts'
import type { Mirror } from './mirror.ts'
import { verifyCopy } from './verify-copy.ts'

/** Copies asked of the catalogue at a time, and recorded in one statement. */
const PORTION = 500
const RECORD_MS = 2_000
/** Files read at a time, as far as the reader has memory for them. */
const READERS = 6

/**
 * Reads the copies of the selected originals back from the mirror, as fast as that goes, and sees to what follows
 * (`verifyCopy`). Returns the ids of the findings. `pause` is awaited before each copy and between chunks, `done` is
 * called after each copy. What was proven is recorded, whatever ends it. Throws what `verifyCopy` throws.
 */
export async function verifyCopies(
  mirror: Mirror,
  selection: Selection,
  { pause, done }: { pause: Pause; done: () => void },
): Promise<number[]> {
  const { place, library } = mirror
  const findings: number[] = []
  let proven: Proven[] = []
  let recordedAt = performance.now()
  const record = async () => {
    const copies = proven
    proven = []
    recordedAt = performance.now()
    await recordVerified(library.db, place, copies)
  }
  try {
    await mirror.drive.check()
    const copies = inPortions<Provable>((last) => listSelected(library.db, place, selection, last?.path ?? '', PORTION))
    await workThrough(copies, READERS, async (copy) => {
      await pause(0)
      const outcome = await verifyCopy(mirror, copy, pause)
      if (outcome?.state === 'intact') proven.push(outcome)
      else if (outcome !== undefined) findings.push(outcome.finding)
      done()
      if (proven.length >= PORTION || performance.now() - recordedAt > RECORD_MS) await record()
    })
  } finally {
    await record()
  }
  return findings
}
