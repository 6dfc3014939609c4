import { describe, expect, it } from 'vitest'
import { renderStatus } from '../../src/cli/status-page.ts'
import { AppError } from '../../src/errors.ts'
import type { Health } from '../../src/health/model.ts'
import { statusFacts } from '../../src/health/report.ts'

const GB = 1024 ** 3
const at = new Date('2026-03-10T12:00:00Z')
const daysAgo = (days: number) => new Date(at.getTime() - days * 86_400_000)
const none = { files: 0, bytes: 0 }
const device = (deviceId: string, lastBackup: Date | null, pending = 0) => ({
  ...{ deviceId, completed: lastBackup === null ? 0 : 1, failed: 0, pending, firstSeen: daysAgo(100), lastBackup },
  ...{ lastSeen: null, hasAnnounced: true, firstBackup: lastBackup, forgottenAt: null },
})
const health: Health = {
  at,
  backups: { photos: 1200, videos: 1, last: at },
  proof: {
    intact: { files: 1199, bytes: 3 * GB },
    unverified: { files: 2, bytes: GB },
    unread: none,
    lost: none,
    oldest: daysAgo(12),
  },
  nextDue: new Date('2026-03-28T12:00:00Z'),
  overdueSince: null,
  drive: { isPresent: true, usage: { total: 100 * GB, used: 25 * GB, free: 75 * GB } },
  mirrors: [],
  journal: undefined,
  devices: [device('iPhone 16', daysAgo(0.1)), device('iPad', daysAgo(3)), device('unknown', null, 5)],
  findings: [],
  dataDir: undefined,
  superuser: undefined,
  healed: [],
  raised: new Map(),
  quiet: new Set(),
  notes: [],
  openFindings: [],
  problems: [],
}
const render = (fields: Partial<Health> = {}) =>
  `${renderStatus(statusFacts({ ...health, ...fields }), { libraryFolder: '/mnt/photos', timeZone: 'Europe/Berlin' }).join('\n')}\n`

describe('the page of iclood status', () => {
  it('says what a parent wants to know', () => {
    expect(render()).toBe(`All is well.

  Photos       1200 photos and 1 video, 4.00GB on the drive
  Last backup  "iPhone 16": 2026-03-10 10:36
               "iPad": 2026-03-07 13:00 (3 days ago)
               A phone without a name: never
  Drive        /mnt/photos: 75.00GB free of 100.00GB (25 % full)
  Second copy  none; to have one on a second drive, set MIRROR_FOLDER
  Checked      1199 of 1201 files read back from the drive and intact
               2 files not read back yet
               longest ago: 2026-02-26 13:00 (12 days ago)
               next due: 2026-03-28 13:00
`)
  })

  it('begins with what is wrong and what to do', () => {
    const problem = {
      key: 'drive_missing',
      severity: 'error',
      title: 'The drive is missing',
      message: 'Connect it.',
    } as const
    const drive = { isPresent: false, reason: new AppError('drive_missing', 'Connect it.') } as const
    const page = render({ problems: [{ ...problem, since: daysAgo(1) }], drive, mirrors: undefined })
    expect(page).toMatch(
      /^Something is wrong:\n\n {2}! The drive is missing \(since 2026-03-09 13:00\)\n {4}Connect it\.\n/,
    )
    expect(page).toContain('Drive        /mnt/photos: not there\n')
    expect(page).toContain('Second copy  not known while the drive is away\n')
    const two = [problem, problem].map((one) => ({ ...one, since: at }))
    expect(render({ problems: two })).toMatch(/^2 things are wrong:\n/)
  })

  it('goes on with what is well again and should be known, and leaves out phones that are forgotten', () => {
    const note = {
      key: 'healed',
      severity: 'warning',
      title: '1 photo was put back',
      message: 'Check the drive.',
    } as const
    const devices = [...health.devices, { ...device('iPod', daysAgo(50)), forgottenAt: daysAgo(1) }]
    const page = render({ notes: [{ ...note, since: daysAgo(1) }], devices })
    expect(page).toMatch(
      /^All is well\.\n\n {2}\* 1 photo was put back \(2026-03-09 13:00\)\n {4}Check the drive\.\n\n {2}Photos/,
    )
    expect(page).not.toContain('iPod')
  })

  it.each([
    ['ok', false, 'complete'],
    ['ok', true, 'complete; it lies on the same drive as the photos, and would be lost with it'],
    ['behind', false, '2 photos (1.00GB) to be copied'],
    ['missing', false, 'not there; 2 photos (1.00GB) to be copied'],
    ['full', false, 'full; 2 photos (1.00GB) to be copied'],
    ['error', false, 'not up to date; 2 photos (1.00GB) to be copied'],
  ] as const)('says of a second copy that is %s (on one device: %s): %s', (state, isOnOneDevice, expected) => {
    const mirror = {
      folder: '/mnt/second',
      state,
      reason: null,
      backlog: { files: 2, bytes: GB, oldest: daysAgo(1) },
      isOnOneDevice,
    }
    expect(render({ mirrors: [mirror] })).toContain(`Second copy  ${expected}\n`)
    const two = render({ mirrors: [mirror, { ...mirror, folder: '/mnt/third' }] })
    expect(two).toContain(`Second copy  /mnt/second: ${expected}\n`)
    expect(two).toContain(`  /mnt/third: ${expected}\n`)
  })

  it('does not go on for ever when many names were sent', () => {
    const devices = Array.from({ length: 100 }, (_, index) => ({ ...health.devices[1], deviceId: `phone ${index}` }))
    const page = render({ devices: devices as Health['devices'] })
    expect(page).toContain('and 80 more')
    expect(page.split('\n').length).toBeLessThan(40)
  })
})
