import Type from 'typebox'
import type { AppError } from '../errors.ts'
import { hasChanged, type RebuildProgress, rebuild } from '../rebuild/rebuild.ts'
import type { Owner, Told } from './owner.ts'

export const RebuildAsked = Type.Object({})

export interface RebuildFacts {
  library: string
  /** Of the library. */
  folder: string
  changed: boolean
  wasEmpty: boolean
  wasMirror: boolean
  journal: { hasJournal: boolean; backups: number; originals: number; ignored: number; damaged: number }
  adopted: { files: number; bytes: number }
  read: { files: number; bytes: number }
  newlyLost: number
  restored: number
  lost: number
  unreadable: number
}

/** Brings the catalogue back from the drive; says what could not be looked at. Throws as `rebuild`. */
export async function rebuildNow(
  owner: Owner,
  _: unknown,
  told: Told<RebuildProgress>,
  signal: AbortSignal,
): Promise<RebuildFacts> {
  const folder = owner.config.libraryFolder
  const report = await rebuild(owner.db, folder, {
    restoring: owner.restoring,
    restored: owner.restored,
    isBusy: owner.isBusy,
    report: told.progress,
    reportTrouble: (path, error) => told.say(`${path}: ${describe(error)}`),
    signal,
  })
  owner.trouble()
  const { journal, adopted, losses, read } = report
  return {
    library: report.library,
    folder,
    changed: hasChanged(report),
    wasEmpty: report.wasEmpty,
    wasMirror: report.wasMirror,
    journal,
    adopted,
    read: { files: read.done - read.unreadable, bytes: read.bytes },
    newlyLost: losses.lost + read.missing + read.corrupt,
    restored: losses.restored,
    lost: report.lost,
    unreadable: report.unreadable,
  }
}

function describe({ message, cause }: AppError): string {
  return cause instanceof Error ? `${message} (${cause.message})` : message
}
