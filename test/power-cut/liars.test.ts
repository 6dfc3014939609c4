import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { needs } from '../support/needs.ts'
import { startTestDatabase } from '../support/postgres.ts'
import { randomFor } from '../support/rounds.ts'
import { cuttable, type Kind, makeDisk } from './disk.ts'
import { type Fault, makeFaults, untilHalted } from './faults.ts'
import { findLosses } from './losses.ts'
import { Machine } from './machine.ts'
import { Phones } from './phones.ts'

/** The system writes by itself what is old enough; not within these tests. xfs knows no such option, and takes 30 s. */
const MOUNT_OPTIONS = { ext4: ['commit=300'], xfs: [], btrfs: ['commit=300'] }

/**
 * Backs up one photo on a machine whose calls fail in that way, cuts the power when all is done and the answer is about
 * to go out, and returns what is lost then. The database is not on the disk: what it flushes could save what the server
 * has not flushed.
 */
async function lossesWith(kind: Kind, ...faultsArmed: readonly Fault[]): Promise<string[]> {
  const random = randomFor(`liars ${kind}`)
  const database = await startTestDatabase()
  const disk = await makeDisk(kind, MOUNT_OPTIONS[kind])
  const faults = makeFaults(disk.beside)
  const machine = new Machine(disk, { DATABASE_URL: database.url, DATA_DIR: join(disk.beside, 'data') })
  const phones = new Phones(random)

  const server = await machine.start(faults.env)
  const asset = phones.takeOne(2019, 300_000)
  await phones.offerAll(server)
  await faults.arm(...faultsArmed, { call: 'answer', path: '201 /photos/upload', does: 'halt before' })
  const sending = phones.send(server, asset)
  await untilHalted(server)
  phones.acknowledged.set(asset, `2019/05/${asset.name}`)
  await machine.cut()
  await sending

  await machine.restore()
  await machine.start()
  const losses = await findLosses(machine, phones, random)
  await machine.stop()
  await disk.remove()
  await database.drop()
  return losses
}

// On the others, that is what the cuts at random moments show.
it(
  'a power cut at the answer finds nothing lost on ext4 when everything is flushed',
  needs(cuttable('ext4')),
  async () => {
    expect(await lossesWith('ext4')).toEqual([])
  },
)

describe.each<Kind>(['ext4', 'xfs', 'btrfs'])('a power cut at the answer, on %s', (kind) => {
  const have = needs(cuttable(kind))

  it('finds the loss when the bytes are not flushed', have, async () => {
    const losses = await lossesWith(kind, { call: 'fdatasync', path: '\\.part$', does: 'lie' })
    expect(losses).toContainEqual(expect.stringMatching(/^lost: /))
  })

  it('finds the loss when the folder is not flushed', have, async () => {
    const losses = await lossesWith(kind, { call: 'fsync', path: '', does: 'lie' })
    expect(losses).toContainEqual(expect.stringMatching(/^lost: .* which is gone$/))
  })
})
