import type { Entry } from './entry.ts'
import { CREATE, io } from './io.ts'
import { writeAll } from './write-all.ts'

/** What a file is to hold: all of it, or what writes all of it into the open file. */
export type Content = Buffer | ((file: number) => Promise<void>)

/**
 * Writes a file whose name is free; returns once its bytes, not its name, would survive a power cut. What fails stays
 * as it is. System errors pass.
 */
export async function writeWhole(
  entry: Entry,
  content: Content,
  create: (entry: Entry) => Promise<number> = (one) => io.open(one, CREATE),
): Promise<void> {
  const file = await create(entry)
  try {
    if (typeof content === 'function') await content(file)
    else await writeAll(file, [content], 0)
    await io.datasync(file)
  } finally {
    await io.close(file)
  }
}
