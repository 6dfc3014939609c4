import { expect, it } from 'vitest'
import type { Answer, KnownAsset } from '../../src/catalogue/look-up.ts'
import type { LibraryPath } from '../../src/format/layout.ts'
import { type Decision, decide } from '../../src/upload/decide.ts'

const SIZE = 5_000
const HERE = '192.168.1.2'
const [A, B] = ['2024/07/A.JPG', '2024/07/B.JPG'] as LibraryPath[] as [LibraryPath, LibraryPath]
const TAKEN = Date.UTC(2024, 6, 1)

const copy = (path: string, given: Partial<Answer['sameContent'][number]> = {}) => {
  return { path, size: SIZE, capturedAt: TAKEN, capturedOffset: 120, isLost: false, ...given }
}
const row = (given: Partial<KnownAsset>) => given as KnownAsset
/** A row of an older server whose file was lost before anybody had read it. */
const unreadAndLost = (path: string, given: Partial<KnownAsset> = {}) =>
  row({ isLost: true, checksum: null, size: SIZE, filePath: path, announcedFrom: HERE, ...given })

interface Case {
  copies?: Answer['sameContent']
  unread?: string[]
  rows?: KnownAsset[]
  /** What the drive has, in bytes; of other paths it can't say. */
  drive?: Record<string, number>
  address?: string
}

const found = (path: LibraryPath, capturedAt: Date | null = new Date(TAKEN)): Decision => {
  return { outcome: 'found', path, capturedAt, capturedOffset: 120 }
}
const stored = (given: Partial<Extract<Decision, { outcome: 'store' }>> = {}): Decision => {
  return { outcome: 'store', unread: [], lost: [], replaces: null, ...given }
}

it.each<[name: string, given: Case, expected: Decision]>([
  ['nobody has the content: it gets a place', {}, stored()],
  ['the drive has it, of its size: it is found', { copies: [copy(A)], drive: { [A]: SIZE } }, found(A)],
  [
    'nothing is known of when it was taken',
    { copies: [copy(A, { capturedAt: null })], drive: { [A]: SIZE } },
    found(A, null),
  ],
  ['it is not there: its place may be had, or is replaced', { copies: [copy(A)] }, stored({ lost: [A], replaces: A })],
  ['it has another size', { copies: [copy(A)], drive: { [A]: 4_999 } }, stored({ lost: [A], replaces: A })],
  [
    'it is known to be lost, whatever lies there',
    { copies: [copy(A, { isLost: true })], drive: { [A]: SIZE } },
    stored({ lost: [A], replaces: A }),
  ],
  ['the second of two is there', { copies: [copy(A), copy(B)], drive: { [B]: SIZE } }, found(B)],
  [
    'the first of two is there, and the second is lost',
    { copies: [copy(A), copy(B, { isLost: true })], drive: { [A]: SIZE } },
    found(A),
  ],
  ['both are lost: the older place first', { copies: [copy(A), copy(B)] }, stored({ lost: [A, B], replaces: A })],
  ['an unread file has its size: it is read first', { unread: [A], drive: { [A]: SIZE } }, stored({ unread: [A] })],
  ['of an unread file the drive can’t say its size', { unread: [A] }, stored({ unread: [A] })],
  ['an unread file has become something else by its size', { unread: [A], drive: { [A]: 7 } }, stored()],
  [
    'what the drive has is not compared with unread files',
    { copies: [copy(A)], unread: [B], drive: { [A]: SIZE, [B]: SIZE } },
    found(A),
  ],
  [
    'what is lost may be an unread file',
    { copies: [copy(A)], unread: [B], drive: { [B]: SIZE } },
    stored({ unread: [B], lost: [A], replaces: A }),
  ],
  ['an older server’s lost file was announced from there', { rows: [unreadAndLost(A)] }, stored({ lost: [A] })],
  ['… from elsewhere', { rows: [unreadAndLost(A)], address: '192.168.1.9' }, stored()],
  ['… two rows of one file', { rows: [unreadAndLost(A), unreadAndLost(A)] }, stored({ lost: [A] })],
  ['… of another size', { rows: [unreadAndLost(A, { size: 7 })] }, stored()],
  ['… in whose place something else lies by its size', { rows: [unreadAndLost(A)], drive: { [A]: 7 } }, stored()],
  [
    '… in whose place a file of its size lies',
    { rows: [unreadAndLost(A)], drive: { [A]: SIZE } },
    stored({ lost: [A] }),
  ],
  [
    '… which had been read: its content is known, and is not this',
    { rows: [unreadAndLost(A, { checksum: 'b'.repeat(64) as never })] },
    stored(),
  ],
  [
    '… but the content is known elsewhere',
    { copies: [copy(B)], rows: [unreadAndLost(A)] },
    stored({ lost: [B], replaces: B }),
  ],
])('%s', (_, { copies = [], unread = [], rows = [], drive = {}, address = HERE }, expected) => {
  const answer = { sameContent: copies, unreadOfSize: unread, samePath: rows }
  const sizes = new Map(Object.entries(drive)) as Map<LibraryPath, number>
  expect(decide({ size: SIZE, address, announced: rows[0], answer, sizes })).toEqual(expected)
})

it('nothing that was announced: an older server’s lost file is nobody’s to restore', () => {
  const answer = { sameContent: [], unreadOfSize: [], samePath: [unreadAndLost(A)] }
  expect(decide({ size: SIZE, address: HERE, announced: undefined, answer, sizes: new Map() })).toEqual(stored())
})
