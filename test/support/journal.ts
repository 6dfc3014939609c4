import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { BackupRecord, IgnoredRecord, OriginalFacts } from '../../src/format/journal-record.ts'
import type { Checksum } from '../../src/media/checksum.ts'
import { fc } from './property.ts'

export const JOURNAL = '.iclood/journal'

/** An asset as the journal tells of it. */
export function backupRecord(id: number, name = `IMG_${id}.JPG`): BackupRecord {
  return {
    type: 'backup',
    id,
    device: 'iPhone',
    phone_path: `file:///DCIM/${name}`,
    asset_id: `${id}/L0/001`,
    name,
    kind: 'photo',
    status: 'Completed',
    failure: null,
    at: '2024-07-01T10:20:30.123Z',
    created: 1_719_829_230_123.25,
    modified: null,
    announced_size: 0,
    announced_from: '192.0.2.7',
    sent_from: '192.0.2.8',
    size: 1234,
    media_type: 'image/jpeg',
    original: originalFacts(`2024/07/${name}`, id),
  }
}

export function originalFacts(path: string, content: number): OriginalFacts {
  return {
    path,
    sha256: content.toString(16).padStart(64, '0') as Checksum,
    size: 1234,
    media_type: 'image/jpeg',
    captured_at: '2024-07-01T08:20:30.000Z',
    captured_offset: 120,
    // Left out where there is none.
    ...(content % 2 === 1 && { content_id: `00000000-0000-4000-8000-${String(content).padStart(12, '0')}` }),
    stored_at: '2024-07-01T10:20:30.123Z',
    verified_at: null,
  }
}

export function ignoredRecord(id: number): IgnoredRecord {
  const known = {
    created: id % 2 === 0 ? null : id + 0.5,
    announced_size: id % 3 === 0 ? null : id,
    ignored_from: id % 4 === 0 ? null : '192.0.2.9',
  }
  return {
    type: 'ignored',
    id,
    device: null,
    phone_path: `/DCIM/${id}`,
    asset_id: null,
    name: `${id}`,
    at: null,
    ...known,
  }
}

const anyText = fc.string({ unit: 'grapheme', maxLength: 30 })

/** Assets with texts of all kinds. */
export const anyBackup: fc.Arbitrary<BackupRecord> = fc
  .record({
    id: fc.integer({ min: 1 }),
    texts: fc.array(fc.option(anyText), { minLength: 4, maxLength: 4 }),
    name: anyText,
  })
  .map(({ id, texts: [device = null, phone_path = null, asset_id = null, failure = null], name }) => {
    const original = originalFacts(`2024/07/${id} ${name.replaceAll('/', '_')}`, id)
    return { ...backupRecord(id, name), device, phone_path, asset_id, failure, original }
  })

/** The names of the journal's files in a library, in order. */
export async function journalIn(library: string): Promise<string[]> {
  return (await readdir(join(library, JOURNAL)).catch(() => [])).sort()
}

/**
 * What a reader in another language makes of a library's journal, by id and path; `needs(command('python3',
 * 'python3'))`.
 */
export interface Foreign {
  backups: Record<string, BackupRecord>
  ignored: Record<string, IgnoredRecord>
  originals: Record<string, OriginalFacts>
  damaged: number
}

export async function readAsForeigner(library: string): Promise<Foreign> {
  const program = join(import.meta.dirname, 'read-journal.py')
  const { stdout } = await promisify(execFile)('python3', [program, library], { maxBuffer: 1024 ** 3 })
  return JSON.parse(stdout) as Foreign
}

/** The names in a folder's SHA256SUMS, in the order of its lines; none without the file. */
export async function summedIn(folder: string): Promise<string[]> {
  const text = await readFile(join(folder, 'SHA256SUMS'), 'utf8').catch(() => '')
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => line.slice(66))
}

/** What the real `sha256sum -c` says of a folder: its exit code and what it prints. */
export async function sha256sum(folder: string): Promise<{ code: number; output: string }> {
  try {
    const { stdout, stderr } = await promisify(execFile)('sha256sum', ['-c', '--strict', 'SHA256SUMS'], { cwd: folder })
    return { code: 0, output: stdout + stderr }
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
    return { code, output: stdout + stderr }
  }
}
