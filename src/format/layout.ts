/*
 * format/: drive-format.md as code: paths, names, sums, the journal's records. Pure; whoever reads a drive reads it
 * with this.
 */

import { AppError } from '../errors.ts'

declare const kind: unique symbol

/** A file's path within the library, relative, with `/` on every system: `2024/07/IMG_0042.HEIC`. */
export type LibraryPath = string & { readonly [kind]: 'path' }

/** A month's folder within the library: `2024/07`. */
export type MonthFolder = string & { readonly [kind]: 'folder' }

/** What the server keeps for itself on the drive; a photo never lies in it. */
export const PRIVATE_FOLDER = '.iclood'
export const STAGING_FOLDER = `${PRIVATE_FOLDER}/incoming`
export const IDENTITY_FILE = `${PRIVATE_FOLDER}/library.json`
/** Which mirror the library has. */
export const MIRROR_NOTE = `${PRIVATE_FOLDER}/mirror.json`
export const JOURNAL_FOLDER = `${PRIVATE_FOLDER}/journal`
export const QUARANTINE_FOLDER = `${PRIVATE_FOLDER}/quarantine`
/** In each month folder; no original has this name. */
export const SUMS_FILE = 'SHA256SUMS'

const MONTH_FOLDER = /^\d{4}\/\d{2}$/

/** Tells whether `folder` is a month's, such as `2024/07`. */
export function isMonthFolder(folder: string): folder is MonthFolder {
  return MONTH_FOLDER.test(folder)
}

/** `year` 0 to 9999, `month` 1 to 12. */
export function monthFolder(year: number, month: number): MonthFolder {
  return `${String(year).padStart(4, '0')}/${String(month).padStart(2, '0')}` as MonthFolder
}

/** `name` must be a safe name (see `safeName`). */
export function pathIn(folder: MonthFolder, name: string): LibraryPath {
  return `${folder}/${name}` as LibraryPath
}

/**
 * Reads a path that an older server or a person wrote. Throws `invalid_request` unless it is relative and stays within
 * the library, outside its private folder.
 */
export function parseLibraryPath(path: string): LibraryPath {
  const parts = path.split('/')
  const inside = parts.every((part) => part !== '' && part !== '.' && part !== '..' && !part.includes('\0'))
  if (!inside || parts[0] === PRIVATE_FOLDER) {
    throw new AppError(
      'invalid_request',
      `"${path}" is not the path of a file in the library, such as 2024/07/IMG_0042.HEIC.`,
    )
  }
  return path as LibraryPath
}

/** Splits a path into its folder (`''` for the library itself) and its name. */
export function splitPath(path: string): { folder: string; name: string } {
  const slash = path.lastIndexOf('/')
  return { folder: path.slice(0, Math.max(slash, 0)), name: path.slice(slash + 1) }
}
