import type { Answer, KnownAsset } from '../catalogue/look-up.ts'
import { type LibraryPath, parseLibraryPath } from '../format/layout.ts'
import type { Sizes } from './sizes.ts'

/** What is to become of the staged bytes of an upload. */
export type Decision =
  | {
      /** The drive has them already, at `path`. */
      outcome: 'found'
      path: LibraryPath
      capturedAt: Date | null
      capturedOffset: number | null
    }
  | {
      outcome: 'store'
      /** Originals that nobody has read and that may be these bytes: they are read first. */
      unread: readonly LibraryPath[]
      /** Places of lost originals that these bytes may take, the best first. If none can be had, they get a new one. */
      lost: readonly LibraryPath[]
      /** The lost copy that a new place replaces. */
      replaces: LibraryPath | null
    }

/** What deciding needs: the size of the staged bytes, where they came from, and what is known of them. */
export interface Facts {
  /** Bytes. */
  size: number
  address: string
  announced: KnownAsset | undefined
  answer: Pick<Answer, 'sameContent' | 'unreadOfSize' | 'samePath'>
  /** Of every path that `answer` names. */
  sizes: Sizes
}

/**
 * Content is stored once: where the drive has it, it stays; where it was lost, it is put back; else it gets a new
 * place. Pure.
 */
export function decide({ size, address, announced, answer, sizes }: Facts): Decision {
  const copies = answer.sameContent.map((copy) => ({ ...copy, path: parseLibraryPath(copy.path) }))
  const found = copies.find((copy) => !copy.isLost && sizes.get(copy.path) === size)
  if (found !== undefined) {
    const { path, capturedAt, capturedOffset } = found
    return { outcome: 'found', path, capturedAt: capturedAt === null ? null : new Date(capturedAt), capturedOffset }
  }
  // What is something else by its length is not read while a phone waits.
  const mayHold = (path: LibraryPath) => (sizes.get(path) ?? size) === size
  const unread = answer.unreadOfSize.map(parseLibraryPath).filter(mayHold)
  const [first] = copies
  if (first !== undefined) {
    return { outcome: 'store', unread, lost: copies.map((copy) => copy.path), replaces: first.path }
  }
  const lost = announced?.announcedFrom === address ? lostUnread(answer, size).filter(mayHold) : []
  return { outcome: 'store', unread, lost, replaces: null }
}

/**
 * Originals of an older server that were lost before anybody had read them. All that is known of them is the phone's
 * path and their size: enough for what was announced from the address that it came from, so that a phone which is asked
 * for it anew puts it back.
 */
export function lostUnread({ samePath }: Pick<Answer, 'samePath'>, size: number): LibraryPath[] {
  const rows = samePath.filter((row) => row.isLost === true && row.checksum === null && row.size === size)
  return [...new Set(rows.flatMap((row) => row.filePath ?? []))].map(parseLibraryPath)
}
