import { execFile } from 'node:child_process'
import { open, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { needs } from '../support/needs.ts'
import { cuttable, type Kind, makeDisk } from './disk.ts'

async function flush(path: string): Promise<void> {
  const file = await open(path, 'r')
  await file.sync().finally(() => file.close())
}

/** Writes zeros over the first 64 KB of a file: past the kernel's memory to the disk, which is not told to flush. */
async function overwrite(path: string): Promise<void> {
  const args = ['if=/dev/zero', `of=${path}`, 'bs=4096', 'count=16', 'oflag=direct', 'conv=notrunc']
  await promisify(execFile)('dd', args)
}

describe.each<Kind>(['ext4', 'xfs', 'btrfs'])('the disk of the power cuts, with %s', (kind) => {
  it('loses at a cut what was not flushed, and nothing else', needs(cuttable(kind)), async () => {
    const disk = await makeDisk(kind)
    for (const round of ['1', '2', '3']) {
      const kept = join(disk.path, `kept ${round}`)
      await writeFile(kept, round.repeat(100_000))
      await flush(kept)
      await flush(disk.path)
      await writeFile(join(disk.path, `lost ${round}`), round.repeat(100_000))
      await overwrite(kept)
      expect(await readFile(kept, 'utf8')).toBe('\0'.repeat(65_536) + round.repeat(34_464))
      await disk.cut()
      await expect(writeFile(join(disk.path, 'too late'), '').then(() => flush(disk.path))).rejects.toThrow()
      await disk.restore()
    }
    const names = (await readdir(disk.path)).filter((name) => name !== 'lost+found')
    expect(names.sort()).toEqual(['kept 1', 'kept 2', 'kept 3'])
    for (const round of ['1', '2', '3']) {
      expect(await readFile(join(disk.path, `kept ${round}`), 'utf8')).toBe(round.repeat(100_000))
    }
    await disk.remove()
  })
})
