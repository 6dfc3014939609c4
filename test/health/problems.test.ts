import { describe, expect, it } from 'vitest'
import type { Device } from '../../src/catalogue/devices.ts'
import { AppError } from '../../src/errors.ts'
import type { Facts, HealthRules } from '../../src/health/model.ts'
import { deviceName, fullness, isUndecided, notesOf, problemsOf } from '../../src/health/problems.ts'
import type { MirrorStatus } from '../../src/mirror/status.ts'

const GB = 1024 ** 3
const at = new Date('2026-03-10T12:00:00Z')
const daysAgo = (days: number) => new Date(at.getTime() - days * 86_400_000)
const rules: HealthRules = {
  quietDays: 7,
  verifyEvery: 30 * 86_400_000,
  minFreeSpace: GB / 2,
  timeZone: 'Europe/Berlin',
}
const none = { files: 0, bytes: 0 }
const MIRROR: MirrorStatus = {
  folder: '/mnt/second',
  state: 'ok',
  reason: null,
  backlog: { ...none, oldest: null },
  isOnOneDevice: false,
}
const well: Facts = {
  at,
  backups: { photos: 0, videos: 0, last: null },
  proof: { intact: none, unverified: none, unread: none, lost: none, oldest: null },
  nextDue: null,
  overdueSince: null,
  drive: { isPresent: true, usage: { total: 100 * GB, used: 50 * GB, free: 50 * GB } },
  mirrors: [],
  journal: undefined,
  devices: [],
  findings: [],
  dataDir: undefined,
  superuser: undefined,
  healed: [],
  raised: new Map(),
}
const device = (fields: Partial<Device>): Device => {
  const counts = { completed: 1, failed: 0, pending: 0 }
  const times = {
    firstSeen: daysAgo(100),
    lastSeen: null,
    firstBackup: daysAgo(100),
    lastBackup: at,
    forgottenAt: null,
  }
  return { deviceId: 'iPhone', hasAnnounced: true, ...counts, ...times, ...fields }
}
const keys = (facts: Partial<Facts>) => problemsOf({ ...well, ...facts }, rules).map(({ key }) => key)
const withUsage = (used: number, free: number): Partial<Facts> => {
  return { drive: { isPresent: true, usage: { total: used + free, used, free } } }
}

describe('what is wrong', () => {
  it('is nothing with a library that is well', () => {
    expect(problemsOf(well, rules)).toEqual([])
  })

  it.each([
    ['exactly nine tenths', 90, 10, []],
    ['a little more', 90.1, 9.9, ['drive_full']],
    ['all but what is kept free', 99.5, 0.5, ['drive_full']],
  ])('is a drive that is full to %s', (_, used, free, expected) => {
    expect(keys(withUsage(used * GB, free * GB))).toEqual(expected)
  })

  it('is worse with a drive that takes nothing any more', () => {
    const severity = (used: number, free: number) =>
      problemsOf({ ...well, ...withUsage(used, free) }, rules)[0]?.severity
    expect(severity(95 * GB, 5 * GB)).toBe('warning')
    expect(severity(95 * GB, 0.5 * GB)).toBe('error')
  })

  it.each([
    ['has backed up in time', { lastBackup: daysAgo(7) }, []],
    ['has not', { lastBackup: daysAgo(7.01) }, ['quiet:iPhone']],
    ['has never, and is new', { lastBackup: null, firstSeen: daysAgo(6) }, []],
    ['has never, and is not new', { lastBackup: null, firstSeen: daysAgo(8), pending: 3 }, ['quiet:iPhone']],
    ['gives no name', { deviceId: 'unknown', lastBackup: daysAgo(8) }, ['quiet:unknown']],
    ['looks in and has nothing new', { lastBackup: daysAgo(30), lastSeen: daysAgo(1) }, []],
    ['has not looked in any more', { lastBackup: daysAgo(30), lastSeen: daysAgo(8) }, ['quiet:iPhone']],
    [
      'sends by itself, over days',
      { hasAnnounced: false, firstBackup: daysAgo(9.5), lastBackup: daysAgo(8) },
      ['quiet:iPhone'],
    ],
    ['was a script, once', { hasAnnounced: false, firstBackup: daysAgo(8), lastBackup: daysAgo(8) }, []],
    ['was a script, for half a day', { hasAnnounced: false, firstBackup: daysAgo(8.5), lastBackup: daysAgo(8) }, []],
    ['failed as a script', { hasAnnounced: false, firstBackup: null, lastBackup: null, failed: 3 }, []],
    ['is forgotten', { lastBackup: daysAgo(30), forgottenAt: daysAgo(29) }, []],
    ['was forgotten and has sent since', { lastBackup: daysAgo(8), forgottenAt: daysAgo(29) }, ['quiet:iPhone']],
  ])('is a phone that %s', (_, fields, expected) => {
    expect(keys({ devices: [device(fields)] })).toEqual(expected)
  })

  it('is a second copy that is missing, full or can’t be written, and one that is behind for more than an hour', () => {
    const mirror = { ...MIRROR, backlog: { files: 2, bytes: 10, oldest: daysAgo(1 / 25) } }
    for (const state of ['missing', 'full', 'error'] as const) {
      expect(keys({ mirrors: [{ ...mirror, state, reason: 'why' }] })).toEqual([`mirror_${state}`])
    }
    expect(keys({ mirrors: [{ ...mirror, state: 'behind' }] })).toEqual([])
    const late = { ...mirror, backlog: { ...mirror.backlog, oldest: daysAgo(1 / 23) } }
    expect(keys({ mirrors: [{ ...late, state: 'behind' }] })).toEqual(['mirror_behind'])
    // Of several each has its own, and names itself.
    const other: MirrorStatus = { ...mirror, folder: '/mnt/third', state: 'missing' }
    const both = problemsOf({ ...well, mirrors: [{ ...late, state: 'behind' }, other] }, rules)
    expect(both.map(({ key }) => key)).toEqual(['mirror_behind', 'mirror_missing:/mnt/third'])
    expect(both[1]?.title).toBe('The second copy in /mnt/third is missing')
    expect(keys({ mirrors: [{ ...late, state: 'ok' }] })).toEqual([])
  })

  it('is what verification has found, each kind once, with how often', () => {
    const findings = (['missing', 'corrupt', 'unreadable', 'unknown', 'sums'] as const).map((kind, index) => {
      return { copy: 'library' as const, kind, count: index + 1, quarantined: 0, since: daysAgo(1), found: 9 }
    })
    const problems = problemsOf({ ...well, findings }, rules)
    expect(problems.map(({ key, title }) => [key, title])).toEqual([
      ['findings:missing', '1 photo is missing from the drive'],
      ['findings:corrupt', '2 photos were damaged on the drive'],
      ['findings:unreadable', '3 photos can’t be read from the drive'],
      ['findings:unknown', '4 files are not known to the library and lie on the drive'],
      ['findings:sums', '5 SHA256SUMS disagree with the library on the drive'],
    ])
    const onMirror = findings.slice(0, 1).map((finding) => ({ ...finding, copy: 'mirror' as const }))
    expect(problemsOf({ ...well, findings: onMirror }, rules)).toMatchObject([
      { key: 'findings:mirror:missing', severity: 'warning' },
    ])
  })

  it('is a disk of the database that is nearly full, once where the drive is the same one', () => {
    const drive = { isPresent: true as const, usage: { total: 200 * GB, used: 100 * GB, free: 100 * GB } }
    const full = { total: 100 * GB, used: 95 * GB, free: 5 * GB }
    expect(keys({ drive, dataDir: drive.usage })).toEqual([])
    expect(problemsOf({ ...well, drive, dataDir: full }, rules)).toMatchObject([
      { key: 'data_dir_full', severity: 'warning', title: 'The disk of the database is 95 % full' },
    ])
    expect(keys({ drive: { isPresent: true, usage: full }, dataDir: full })).toEqual(['drive_full'])
    const tiny = { total: GB, used: GB / 2, free: 100 * 1024 ** 2 }
    expect(keys({ drive, dataDir: tiny })).toEqual(['data_dir_full'])
    const none = { total: GB, used: GB, free: 1024 ** 2 }
    expect(problemsOf({ ...well, dataDir: none }, rules)).toMatchObject([{ key: 'data_dir_full', severity: 'error' }])
  })

  it('is not what was healed, which is a note', () => {
    const healed = [
      { copy: 'library' as const, kind: 'corrupt' as const, healed: 7, untold: 3, lately: 2, last: daysAgo(1) },
      { copy: 'library' as const, kind: 'missing' as const, healed: 1, untold: 1, lately: 1, last: daysAgo(2) },
      { copy: 'mirror' as const, kind: 'corrupt' as const, healed: 1, untold: 0, lately: 0, last: null },
    ]
    expect(problemsOf({ ...well, healed }, rules)).toEqual([])
    expect(notesOf({ ...well, healed })).toMatchObject([
      {
        key: 'healed',
        title: '3 damaged or missing photos on the drive were put back',
        message: expect.stringContaining('2 corrupt, 1 missing'),
        since: daysAgo(1),
        found: 4,
        isNote: true,
      },
    ])
  })

  it('is a journal that can’t be written, unless the drive is the reason', () => {
    const journal = { reason: new AppError('drive_error', 'A later version has written it.'), since: daysAgo(1) }
    const [problem] = problemsOf({ ...well, journal }, rules)
    expect(problem).toMatchObject({ key: 'journal_unwritten', severity: 'warning', since: daysAgo(1) })
    expect(problem?.message).toMatch(/^A later version has written it\. /)
    expect(keys({ journal: { ...journal, reason: undefined } })).toEqual(['journal_unwritten'])
    const usage = { total: 100 * GB, used: 50 * GB, free: 50 * GB }
    const refusal = new AppError('drive_error', 'It is read-only.')
    expect(keys({ journal, drive: { isPresent: true, usage, refusal } })).toEqual(['drive_unwritable'])
    expect(keys({ journal, drive: { isPresent: false, reason: refusal } })).toEqual(['drive_missing'])
  })

  it('is told the worst first', () => {
    const missing = new AppError('drive_missing', 'It is not there.')
    const facts = { devices: [device({ lastBackup: daysAgo(9) })], overdueSince: daysAgo(3) }
    expect(keys({ ...facts, drive: { isPresent: false, reason: missing } })).toEqual([
      'drive_missing',
      'verification_overdue',
      'quiet:iPhone',
    ])
  })
})

it('what can’t be seen while a drive is away is left undecided', () => {
  const reason = new AppError('drive_missing', 'It is not there.')
  const judged = isUndecided(well)
  const drive = isUndecided({ ...well, drive: { isPresent: false, reason } })
  const mirror = isUndecided({ ...well, mirrors: [{ ...MIRROR, state: 'missing' }] })
  const unknown = isUndecided({ ...well, mirrors: undefined })
  const undecided = (key: string) => [judged, drive, mirror, unknown].map((judge) => judge(key))
  expect(undecided('drive_full')).toEqual([false, true, false, false])
  expect(undecided('journal_unwritten')).toEqual([false, true, false, false])
  expect(undecided('mirror_behind')).toEqual([false, false, true, true])
  expect(undecided('mirror_missing')).toEqual([false, false, false, true])
  expect(undecided('drive_missing')).toEqual([false, false, false, false])
})

it('a drive without any space is not full', () => {
  expect(fullness({ used: 0, free: 0 })).toBe(0)
})

it.each([
  ['Müllers iPhone', '"Müllers iPhone"'],
  ['unknown', 'A phone without a name'],
  ['\u202e\u0007', 'A phone without a name'],
  ['a\u001b[2Jb', '"a 2Jb"'],
])('a device that calls itself %j is called %j', (id, name) => {
  expect(deviceName(id)).toBe(name)
})
