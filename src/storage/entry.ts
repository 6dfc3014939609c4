import fs from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { AppError, hasErrno } from '../errors.ts'
import { PRIVATE_FOLDER, SUMS_FILE, splitPath } from '../format/layout.ts'
import { type Answers, answersOf } from './answers.ts'
import { whereIs } from './descriptors.ts'

const lstat = promisify(fs.lstat)

/** Where the folder of a library really lies, and on which device. */
export interface Anchor {
  /** Absolute, without links, as the system spells it. */
  readonly folder: string
  readonly device: number
}

/** What stands at a name, in the words in which it is told. */
export type Kind = 'a folder' | 'a file' | 'a link' | 'a pipe' | 'a socket' | 'a device' | 'another file system'

/** What belongs at a name in the library. */
export type Expected = Extract<Kind, 'a folder' | 'a file'>

/** Something in a library that is not what belongs there: it is neither used, nor followed, nor removed. */
export class StrangeEntry extends AppError {
  /** Relative to the library. */
  readonly path: string
  /** What it is instead: completes "2024 on the drive is …". */
  readonly why: string
  readonly expected: Expected
  /** What a file there may have at most; `undefined` if that is not what is wrong. */
  readonly maxBytes: number | undefined

  constructor(root: Root, path: string, why: string, expected: Expected, maxBytes?: number) {
    const what = path === '' ? 'The library’s folder' : path
    super(
      'drive_error',
      `${what} on the drive is ${why}, and ${expected} of the library’s own belongs there. It is left alone, and ` +
        'nothing is read or written through it. Move it away, and all goes on by itself.',
      { detail: `It lies in ${root.folder}.`, cause: new Error(`${join(root.folder, path)} is ${why}`) },
    )
    this.path = path
    this.why = why
    this.expected = expected
    this.maxBytes = maxBytes
  }
}

/** A name in a library. */
export interface Entry {
  readonly root: Root
  /** Relative to the library, with `/`; `''` is its folder. No part of it is `..`. */
  readonly path: string
  /** Whether it was touched a moment ago, so that a local file system answers from memory; see `Touched`. */
  readonly isTouched: boolean
}

/**
 * The folder of a library, on which every call names an `Entry`. Whatever lies there was put there by somebody else:
 * only this folder itself may be reached through links, since its owner says where it is.
 */
export class Root {
  /** As it is configured; absolute. */
  readonly folder: string
  /** Whether its file system is asked on this thread for what was touched a moment ago. */
  isLocal = false
  /** How it has answered, whoever has asked. */
  readonly answers: Answers
  #anchor: Anchor | undefined
  readonly #strange = new Map<string, StrangeEntry>()

  constructor(folder: string) {
    this.folder = folder
    this.answers = answersOf(folder)
  }

  at(path: string, isTouched = false): Entry {
    return { root: this, path, isTouched }
  }

  /** A file in its place is none. */
  get #asFolder(): string {
    return `${this.folder}/`
  }

  /** Where it lies, if that has been found out. */
  get anchored(): Anchor | undefined {
    return this.#anchor
  }

  /** Where it lies: found out once, until `letGo`. System errors pass. */
  async anchor(): Promise<Anchor> {
    this.#anchor ??= await whereIs(this.#asFolder)
    return this.#anchor
  }

  /** Whether it lies somewhere else by now, or on another device. System errors pass. */
  async hasMoved(): Promise<boolean> {
    const { folder, device } = await this.anchor()
    const now = await whereIs(this.#asFolder)
    return now.folder !== folder || now.device !== device
  }

  /** Finds out anew where it lies, at the next call. */
  letGo(): void {
    this.#anchor = undefined
  }

  /**
   * Remembers what was found to be strange, for whoever tells people; returns it. What lies in the place of one
   * original is no trouble of the drive: verification tells of it.
   */
  note(strange: StrangeEntry): StrangeEntry {
    const { path, expected } = strange
    const isOwn = path.startsWith(`${PRIVATE_FOLDER}/`) || splitPath(path).name === SUMS_FILE
    if (isOwn || expected === 'a folder') this.#strange.set(path, strange)
    return strange
  }

  /** Something that was found to be strange and is so still; what is not any more is forgotten. System errors pass. */
  async findStrange(): Promise<StrangeEntry | undefined> {
    for (const { path, expected, maxBytes } of [...this.#strange.values()]) {
      const strange = await lookForStrange(this, path, expected, maxBytes)
      if (strange !== undefined) return strange
      this.#strange.delete(path)
    }
    return undefined
  }
}

/**
 * Looks at each part of the path without following anything. Returns the first that is not as it should be, or a file
 * of more than `maxBytes`; `undefined` if all are, or nothing is there at all. System errors pass.
 */
export async function lookForStrange(
  root: Root,
  path: string,
  expected: Expected,
  maxBytes = Number.POSITIVE_INFINITY,
): Promise<StrangeEntry | undefined> {
  const anchor = await root.anchor()
  try {
    for (const part of [...foldersAbove(path).slice(1), path]) {
      const wanted = part === path ? expected : 'a folder'
      const found = await lstat(join(anchor.folder, part))
      const kind = found.isDirectory() && found.dev !== anchor.device ? 'another file system' : kindOf(found)
      if (kind !== wanted) return new StrangeEntry(root, part, kind, wanted)
      if (part === path && found.size > maxBytes) return tooLarge(root, path, maxBytes)
    }
  } catch (error) {
    if (!hasErrno(error, 'ENOENT', 'ENOTDIR')) throw error
  }
  return undefined
}

/** Says that a file is none of this server's making. */
export function tooLarge(root: Root, path: string, maxBytes: number): StrangeEntry {
  return new StrangeEntry(root, path, `larger than ${maxBytes} bytes`, 'a file', maxBytes)
}

/** `''`, `2024`, and `2024/07` of `2024/07/IMG_0042.HEIC`. */
export function foldersAbove(path: string): string[] {
  if (path === '') return []
  const { folder } = splitPath(path)
  return [...foldersAbove(folder), folder]
}

export function kindOf(found: fs.StatsBase<number | bigint>): Kind {
  if (found.isFile()) return 'a file'
  if (found.isDirectory()) return 'a folder'
  if (found.isSymbolicLink()) return 'a link'
  if (found.isFIFO()) return 'a pipe'
  return found.isSocket() ? 'a socket' : 'a device'
}
