import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { originalsIn, stagedIn } from '../support/drives.ts'
import { until } from '../support/until.ts'
import type { Machine } from './machine.ts'
import type { Phones } from './phones.ts'

/**
 * Looks, after a start of the server, at all that docs/design.md promises under "Invariants", from outside: a sentence
 * for each promise broken. Sends one acknowledged file again.
 */
export async function findLosses(machine: Machine, phones: Phones, random: () => number): Promise<string[]> {
  const { server } = machine
  const { library } = server
  await until('staging is empty', async () => (await stagedIn(library)).length === 0)

  const losses: string[] = []
  const sent = new Set(phones.taken.map((asset) => asset.checksum))
  const stored = new Map<string, string>()
  for (const path of await originalsIn(library)) {
    if (basename(path) === 'SHA256SUMS') continue
    const bytes = await readFile(join(library, path))
    const checksum = createHash('sha256').update(bytes).digest('hex')
    const twin = [...stored].find(([, other]) => other === checksum)?.[0]
    if (!sent.has(checksum)) losses.push(`damaged: ${path} has ${bytes.length} bytes that nobody has sent`)
    else if (twin !== undefined) losses.push(`twice: ${path} is ${twin} again`)
    stored.set(path, checksum)
  }
  for (const [asset, path] of phones.acknowledged) {
    const found = stored.get(path)
    if (found !== asset.checksum) {
      losses.push(
        `lost: ${asset.name} of ${asset.device} is not in ${path}${found === undefined ? ', which is gone' : ''}`,
      )
    }
  }
  for (const asset of await phones.offerAll(server)) {
    if (phones.acknowledged.has(asset)) losses.push(`forgotten: ${asset.path} of ${asset.device} is asked for again`)
  }
  const report = await machine.verify()
  if (report !== undefined) losses.push(report)

  const [asset, path] = [...phones.acknowledged][Math.floor(random() * phones.acknowledged.size)] ?? []
  if (asset !== undefined) {
    const answer = await phones.send(server, asset)
    if (answer?.status !== 200 || answer.body.backup.file_path !== path) {
      losses.push(`unknown: ${asset.path}, in ${path}, sent again is answered ${JSON.stringify(answer)}`)
    }
  }
  return losses
}
