import type { BigIntStats } from 'node:fs'
import { isMonthFolder, type LibraryPath, type MonthFolder } from '../format/layout.ts'
import { isSumsName } from '../format/names.ts'
import type { Drive } from './drive.ts'
import { driveError } from './drive-error.ts'
import { type Kind, kindOf, lookForStrange } from './entry.ts'
import { lookAt, namesIn } from './look-at.ts'

/** What computers leave in folders that they have shown. */
const LEFT_BY_COMPUTERS = ['thumbs.db', 'desktop.ini']

/** Tells whether a file of that name in a month folder is taken to be an original. */
export function isOriginalName(name: string): boolean {
  return !isSumsName(name) && !name.startsWith('.') && !LEFT_BY_COMPUTERS.includes(name.toLowerCase())
}

/**
 * The month folders that the drive has, in order. What else has such a name is not, and is told. Throws
 * `drive_missing`, `drive_error`.
 */
export async function listMonthFolders(drive: Drive): Promise<MonthFolder[]> {
  await drive.check()
  const folders: MonthFolder[] = []
  for (const year of (await listAll(drive, '')).filter((name) => /^\d{4}$/.test(name)).sort()) {
    if (!(await isFolder(drive, year))) continue
    for (const month of (await listAll(drive, year)).sort()) {
      const path = `${year}/${month}`
      if (isMonthFolder(path) && (await isFolder(drive, path))) folders.push(path)
    }
  }
  return folders
}

/** The names of what may be originals in a month folder (see `isOriginalName`), in no order. Throws `drive_error`. */
export async function listNames(drive: Drive, folder: MonthFolder): Promise<string[]> {
  return (await listAll(drive, folder)).filter(isOriginalName)
}

/** A file as it lies on the drive. */
export interface FileFacts {
  /** Bytes. */
  size: number
  /** When its bytes were last written. */
  writtenAt: Date
  /** When it was last written, named or renamed. */
  touchedAt: Date
}

/** What lies among the originals and is no folder, be it a file, which is what belongs there, or not. */
export interface EntryFacts extends FileFacts {
  kind: Exclude<Kind, 'a folder'>
}

/** What lies at `path`; `undefined` if that is a folder, or nothing. Throws `drive_error`. */
export async function entryOf(drive: Drive, path: LibraryPath): Promise<EntryFacts | undefined> {
  const file = await statOf(drive, path)
  if (file === undefined) return undefined
  const kind = kindOf(file)
  if (kind === 'a folder') return undefined
  return {
    kind,
    size: Number(file.size),
    writtenAt: file.mtime,
    touchedAt: file.ctime > file.mtime ? file.ctime : file.mtime,
  }
}

/** Whether that is a folder of the library; if it is anything else, people are told. */
async function isFolder({ files }: Drive, path: string): Promise<boolean> {
  try {
    const strange = await lookForStrange(files, path, 'a folder')
    if (strange !== undefined) files.note(strange)
    return strange === undefined
  } catch (error) {
    throw driveError(error, `${path} was being looked at`)
  }
}

async function listAll(drive: Drive, folder: string): Promise<string[]> {
  try {
    return (await namesIn(drive.at(folder))) ?? []
  } catch (error) {
    throw driveError(error, `the folder ${folder} was being listed`)
  }
}

async function statOf(drive: Drive, path: string): Promise<BigIntStats | undefined> {
  try {
    return await lookAt(drive.at(path))
  } catch (error) {
    throw driveError(error, `${path} was being looked at`)
  }
}
