import { describe, expect, it } from 'vitest'
import type { KnownAsset } from '../../src/catalogue/look-up.ts'
import type { Checksum } from '../../src/media/checksum.ts'
import { type Arrival, chooseRow } from '../../src/upload/choose-row.ts'

const DAY = 86_400_000
const TAKEN = Date.UTC(2024, 6, 1, 12)
const THIS = 'a'.repeat(64) as Checksum
const OTHER = 'b'.repeat(64) as Checksum

const arrival = (given: Partial<Arrival> = {}): Arrival => ({
  checksum: THIS,
  size: 5000,
  assetId: null,
  address: '192.168.1.2',
  taken: TAKEN,
  created: null,
  ...given,
})

const row = (id: number, given: Partial<KnownAsset> = {}): KnownAsset => ({
  id,
  status: 'Pending',
  assetId: `asset ${id}`,
  created: TAKEN,
  modified: null,
  announcedSize: null,
  announcedFrom: '192.168.1.2',
  isIdentified: false,
  timestamp: id,
  filePath: null,
  checksum: null,
  size: null,
  isLost: null,
  capturedAt: null,
  contentId: null,
  ...given,
})
const done = (id: number, given: Partial<KnownAsset> = {}): KnownAsset =>
  row(id, { status: 'Completed', checksum: THIS, filePath: `2024/07/${id}.JPG`, ...given })

const elsewhere = { announcedFrom: '192.168.1.9' }

/** Ids of the rows chosen. */
function chosen(given: Arrival, ...rows: KnownAsset[]) {
  const { announced, twin } = chooseRow(given, rows)
  return [announced?.id, twin?.id]
}

describe('an upload without an asset id', () => {
  it.each<[string, (number | undefined)[], Arrival, KnownAsset[]]>([
    ['belongs to no row where there is none', [undefined, undefined], arrival(), []],
    ['completes the one that was announced', [1, undefined], arrival(), [row(1)]],
    ['completes one that failed before', [1, undefined], arrival(), [row(1, { status: 'Failed' })]],
    ['completes the one from its address', [2, undefined], arrival(), [row(1, elsewhere), row(2), row(3, elsewhere)]],
    [
      'completes the only one from its address, though its bytes tell another date: people correct dates',
      [1, undefined],
      arrival(),
      [row(1, { created: TAKEN - 40 * DAY })],
    ],
    [
      'completes the only one from its address, though it is not as long as announced: phones convert',
      [1, undefined],
      arrival(),
      [row(1, { announcedSize: 4711 })],
    ],
    [
      'completes the one from elsewhere that it proves to be rather than one from its address that it contradicts',
      [2, undefined],
      arrival(),
      [row(1, { created: TAKEN - 40 * DAY }), row(2, { ...elsewhere, announcedSize: 5000 })],
    ],
    [
      'completes none of several from its address that were all taken another day',
      [undefined, undefined],
      arrival(),
      [row(1, { created: TAKEN - 4 * 365 * DAY }), row(2, { created: TAKEN + DAY + 1 })],
    ],
    [
      'completes none of several from its address by a date that the phone says itself',
      [undefined, undefined],
      arrival({ taken: null, created: TAKEN }),
      [row(1, { created: TAKEN - 4 * 365 * DAY }), row(2, { created: TAKEN + 2 * DAY })],
    ],
    [
      'completes none of several from its address that were all announced with another size',
      [undefined, undefined],
      arrival(),
      [row(1, { announcedSize: 4999 }), row(2, { announcedSize: 5001 })],
    ],
    [
      'completes, of several from its address, the one of its size',
      [2, undefined],
      arrival({ taken: null }),
      [row(1, { announcedSize: 4999 }), row(2, { announcedSize: 5000 }), row(3, { announcedSize: 5001 })],
    ],
    [
      'completes, of several from its address, the one nearest in time',
      [2, undefined],
      arrival(),
      [row(1, { created: TAKEN - 3 * DAY }), row(2, { created: TAKEN + 1 }), row(3, { created: TAKEN + 2 })],
    ],
    [
      'completes, of several from elsewhere, the one nearest in time',
      [2, undefined],
      arrival({ address: '192.168.1.7' }),
      [row(1, { created: TAKEN - 3 * DAY }), row(2), row(3, { created: TAKEN + 2 * DAY })],
    ],
    [
      'prefers one that says when to one that does not',
      [1, undefined],
      arrival(),
      [row(1, { created: TAKEN - DAY }), row(2, { created: null })],
    ],
    [
      'prefers one that does not say when to one of another day',
      [2, undefined],
      arrival(),
      [row(1, { created: TAKEN - 9000 * DAY }), row(2, { created: null })],
    ],
    [
      'leaves one from elsewhere alone that is more than a day off: it may be the other phone’s',
      [undefined, undefined],
      arrival({ address: '192.168.1.7' }),
      [row(1, { created: TAKEN + DAY + 1 })],
    ],
    [
      'leaves one alone of which nobody knows where it was announced, where nothing but its path tells for it',
      [undefined, undefined],
      arrival({ address: '192.168.1.7', taken: null }),
      [row(1, { announcedFrom: null })],
    ],
    [
      'completes the newest of those that nothing tells apart',
      [2, undefined],
      arrival({ taken: null }),
      [row(1), row(2)],
    ],
    ['is recognised as what is there', [undefined, 1], arrival(), [done(1)]],
    [
      'is not taken for another content of that path',
      [undefined, undefined],
      arrival(),
      [done(1, { checksum: OTHER })],
    ],
    [
      'that is known leaves the other phone’s row waiting, though it was announced from here',
      [undefined, 1],
      arrival(),
      [done(1), row(2, { created: TAKEN + 20 * DAY })],
    ],
    [
      'that is known leaves a row waiting of which nobody says when it was taken',
      [undefined, 1],
      arrival(),
      [done(1), row(2, { created: null })],
    ],
    [
      'that is known from an older server answers the only row from its address, though its bytes tell another date',
      [2, 1],
      arrival(),
      [
        done(1, { assetId: null, created: null }),
        row(2, { created: TAKEN + 900 * DAY }),
        row(3, { announcedSize: 1, ...elsewhere }),
      ],
    ],
    [
      'that is known from an older server is kept from several rows of which none fits its date',
      [undefined, 1],
      arrival(),
      [
        done(1, { assetId: null, created: null }),
        row(2, { created: TAKEN + 900 * DAY }),
        row(3, { created: TAKEN + 800 * DAY }),
      ],
    ],
    [
      'that is known from an older server leaves a row from elsewhere waiting, though it is the only one',
      [undefined, 1],
      arrival(),
      [done(1, { assetId: null, created: null }), row(2, { ...elsewhere, created: TAKEN + 900 * DAY })],
    ],
    [
      'that is known answers the row of a new phone, which has another id and the same date',
      [2, undefined],
      arrival(),
      [
        done(1, { assetId: 'old', created: TAKEN + 900 * DAY }),
        row(2, { assetId: 'new', created: TAKEN + 900 * DAY }),
        row(3, { created: TAKEN + 901 * DAY }),
      ],
    ],
    [
      'that is known answers the row of the date that comes with it, whatever its bytes tell',
      [2, undefined],
      arrival({ created: TAKEN + 900 * DAY }),
      [done(1, { created: null }), row(2, { created: TAKEN + 900 * DAY })],
    ],
    [
      'that is known answers the same asset’s new announcement',
      [2, 1],
      arrival(),
      [done(1, { assetId: 'same' }), row(2, { assetId: 'same' })],
    ],
    [
      'that is known answers another asset’s announcement with a row of its own',
      [2, undefined],
      arrival(),
      [done(1, { assetId: 'mine' }), row(2, { assetId: 'yours' })],
    ],
  ])('%s', (_, expected, given, rows) => {
    expect(chosen(given, ...rows)).toEqual(expected)
  })
})

describe('an upload with an asset id', () => {
  const mine = arrival({ assetId: 'mine', address: '192.168.1.7', taken: TAKEN + 100 * DAY })

  it.each<[string, (number | undefined)[], KnownAsset[]]>([
    ['completes the row of that id, wherever and whenever', [2, undefined], [row(2, { assetId: 'mine' })]],
    [
      'completes a row that was announced without id from its address',
      [1, undefined],
      [row(1, { assetId: null, announcedFrom: '192.168.1.7' })],
    ],
    [
      'leaves a row alone that was announced without id elsewhere, another day',
      [undefined, undefined],
      [row(1, { assetId: null })],
    ],
    [
      'prefers the row of its id to one without',
      [1, undefined],
      [row(1, { assetId: 'mine' }), row(2, { assetId: null })],
    ],
    ['is recognised under its id', [undefined, 1], [done(1, { assetId: 'mine' }), done(2, { assetId: null })]],
    ['gives its id to a row from before ids', [undefined, 1], [done(1, { assetId: null })]],
  ])('%s', (_, expected, rows) => {
    expect(chosen(mine, ...rows)).toEqual(expected)
  })
})

it('the order of the rows does not matter', () => {
  const rows = [
    row(1, { created: TAKEN - 2 * DAY }),
    row(2),
    row(3, elsewhere),
    done(4, { assetId: 'asset 2' }),
    row(5, { created: null }),
  ]
  const expected = chosen(arrival(), ...rows)
  for (let turn = 0; turn < rows.length; turn++) {
    rows.push(...rows.splice(0, 1))
    expect(chosen(arrival(), ...rows)).toEqual(expected)
  }
})

it('of any number of rows the nearest is found by looking at each once', () => {
  // As many as no argument list holds, and no loop within a loop comes to the end of.
  const many = Array.from({ length: 300_000 }, (_, n) => row(n + 1, { created: TAKEN + (n + 1) * DAY }))
  expect(chosen(arrival(), ...many.slice(0, 10_000))).toEqual([1, undefined])
  const { announced } = chooseRow(arrival(), [...many, row(0, { created: TAKEN + 7 })])
  expect(announced?.id).toBe(0)
})
