import { describe, expect, it } from 'vitest'
import { DEVICES_KNOWN_TOLD, DEVICES_TOLD } from '../../src/base/budgets.ts'
import type { Device } from '../../src/catalogue/devices.ts'
import { devicesOf, quietDevices } from '../../src/health/problems.ts'

const at = new Date('2026-03-10T12:00:00Z')
const daysAgo = (days: number) => new Date(at.getTime() - days * 86_400_000)
const device = (deviceId: string, fields: Partial<Device> = {}): Device => ({
  deviceId,
  ...{ completed: 1, failed: 0, pending: 0, hasAnnounced: true, forgottenAt: null, lastSeen: null },
  ...{ firstSeen: daysAgo(100), firstBackup: daysAgo(30), lastBackup: daysAgo(9), ...fields },
})
const madeUp = (count: number, days = 8) =>
  Array.from({ length: count }, (_, number) =>
    device(`made up ${number}`, { firstBackup: daysAgo(days), lastBackup: daysAgo(days) }),
  )
const told = (...names: string[]) => new Map(names.map((name) => [`quiet:${name}`, at]))
const quiet = (devices: readonly Device[], raised: ReadonlyMap<string, Date> = new Map()) => {
  const { own, further } = quietDevices({ devices, raised, at }, { quietDays: 7 })
  return { own: own.map(({ deviceId }) => deviceId), further: further.map(({ deviceId }) => deviceId) }
}

describe('devices that have been quiet for too long', () => {
  it('are a problem each, in a household', () => {
    const phones = ['Anna', 'Ben', 'Cleo'].map((name) => device(name))
    expect(quiet(phones)).toEqual({ own: ['Anna', 'Ben', 'Cleo'], further: [] })
  })

  it('that somebody made up are one, beside the phones of the house', () => {
    const phones = ['Anna', 'Ben', 'Cleo', 'Dan', 'Eva', 'Finn'].map((name) => device(name))
    const { own, further } = quiet([...phones, ...madeUp(200)])
    expect(own).toEqual(['Anna', 'Ben', 'Cleo', 'Dan', 'Eva', 'Finn'])
    expect(further).toHaveLength(200)
  })

  it('and come one after the other do not take turns at being a problem of their own', () => {
    const names = madeUp(200)
    const first = quiet(names).own
    expect(first).toHaveLength(DEVICES_TOLD)
    // The first ones are heard of again, and are no problem any more: no other takes their place.
    const revived = names.map((one, rank) => (rank < DEVICES_TOLD ? { ...one, lastSeen: at } : one))
    expect(quiet(revived).own).toEqual([])
  })

  it('stay a problem of their own until they are heard of, wherever they stand by then', () => {
    const longer = Array.from({ length: DEVICES_KNOWN_TOLD + 5 }, (_, number) => device(`longer ${number}`))
    const phone = device('iPhone', { firstBackup: daysAgo(9) })
    const all = [...longer, ...madeUp(300), phone]
    expect(quiet(all).further).toContain('iPhone')
    expect(quiet(all, told('iPhone')).own).toContain('iPhone')
    const heard = all.map((one) => (one.deviceId === 'iPhone' ? { ...one, lastSeen: at } : one))
    expect(quiet(heard, told('iPhone')).own).not.toContain('iPhone')
    const forgotten = all.map((one) => (one.deviceId === 'iPhone' ? { ...one, forgottenAt: at } : one))
    expect(quiet(forgotten, told('iPhone'))).toMatchObject({ own: expect.not.arrayContaining(['iPhone']) })
  })

  it('are looked at in the order in which they stand, those that are forgotten not at all', () => {
    const forgotten = madeUp(50).map((one) => ({ ...one, forgottenAt: at }))
    expect(quiet([...forgotten, device('new', { firstBackup: daysAgo(8), lastBackup: daysAgo(8) })]).own).toEqual([
      'new',
    ])
  })
})

it('of many devices, those that are told of and the longest known ones are shown, the latest first', () => {
  const devices = [device('long', { lastBackup: daysAgo(3) }), ...madeUp(300), device('told')]
  const shown = devicesOf({ devices, raised: told('told') }, 20).map(({ deviceId }) => deviceId)
  expect(shown).toHaveLength(20)
  expect(shown[0]).toBe('long')
  expect(shown.at(-1)).toBe('told')
})
