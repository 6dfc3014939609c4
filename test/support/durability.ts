import { constants, fstatSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { type Call, pathOf } from './faults.ts'

/** A call that has begun. Exactly one of the two is called at its end. */
interface Watched {
  done(result: unknown): void
  failed(): void
}

/**
 * What of a drive would outlive a power cut at this moment, as POSIX has it: the bytes of a file as they were when it
 * was flushed last, under names whose folder was flushed since they were made. A flush that fails drops what it was to
 * flush, and says so only once: the next one succeeds and writes nothing, unless a folder has been changed in between,
 * which is then written as a whole; a file stays as it was before.
 */
export class Durability {
  readonly #root: string
  /** Of each folder the names that would be there, and what they stand for. */
  readonly #folders = new Map<string, ReadonlyMap<string, bigint>>()
  /** Folders that have changed since they were flushed. */
  readonly #changed = new Set<string>()
  /** The bytes that would be in a file. */
  readonly #contents = new Map<bigint, Buffer>()
  /** Files that have been written to since they were flushed. */
  readonly #written = new Set<bigint>()
  /** Files whose flush has failed. */
  readonly #lost = new Set<bigint>()
  /** The paths behind descriptors. */
  readonly #open = new Map<number, string>()

  /** Everything below `root` counts as durable now. */
  constructor(root: string) {
    this.#root = root
    this.#walk(root)
  }

  #walk(folder: string): void {
    this.#folders.set(folder, listing(folder))
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) this.#walk(path)
      else this.#contents.set(inodeOf(path), readFileSync(path))
    }
  }

  /** Whether the file `path` (in the library) would be there, with the bytes that it has now. */
  survives(path: string): boolean {
    let at = this.#root
    for (const name of path.split('/')) {
      const inode = inodeOf(join(at, name))
      if (this.#folders.get(at)?.get(name) !== inode) return false
      at = join(at, name)
    }
    return this.#contents.get(inodeOf(at))?.equals(readFileSync(at)) === true
  }

  /** Makes the folder `target` what the library would be after a power cut. */
  writeTo(target: string, folder = this.#root): void {
    mkdirSync(target, { recursive: true })
    for (const [name, inode] of this.#folders.get(folder) ?? []) {
      const path = join(folder, name)
      if (this.#folders.has(path)) this.writeTo(join(target, name), path)
      else writeFileSync(join(target, name), this.#contents.get(inode) ?? '')
    }
  }

  /** The file `path` (in the library), which something else has put there, counts as durable now. */
  noteDurable(path: string): void {
    const file = join(this.#root, path)
    this.#contents.set(inodeOf(file), readFileSync(file))
    for (let at = file; at !== this.#root; at = dirname(at)) {
      const names = new Map(this.#folders.get(dirname(at)))
      names.set(basename(at), inodeOf(at))
      this.#folders.set(dirname(at), names)
    }
  }

  /** Something else has changed the folder `path` (in the library; none for the library itself). */
  noteChange(path = ''): void {
    this.#changed.add(join(this.#root, path))
  }

  /** Something else has removed the name `path` (in the library). */
  noteRemoved(path: string): void {
    const folder = dirname(join(this.#root, path))
    const names = new Map(this.#folders.get(folder))
    names.delete(basename(path))
    this.#folders.set(folder, names)
    this.#changed.add(folder)
  }

  /** The file `path` (in the library), which something else has put there, is not durable, nor is its name. */
  noteWritten(path: string): void {
    this.noteRemoved(path)
    const inode = inodeOf(join(this.#root, path))
    this.#contents.delete(inode)
    this.#lost.delete(inode)
    this.#written.add(inode)
  }

  begin(call: Call, given: readonly unknown[]): Watched {
    const args = given.map((argument) => pathOf(argument) ?? argument)
    switch (call) {
      case 'datasync':
      case 'fsync':
        return this.#flush(args[0] as number)
      case 'open':
      case 'openFolder':
        return after((file) => this.#opened(file as number, args))
      case 'openOwn':
        return after((found) => {
          const own = found as { file: number } | undefined
          if (own !== undefined) this.#opened(own.file, args)
        })
      case 'writev':
        return after(() => this.#written.add(fstatSync(args[0] as number, { bigint: true }).ino))
      case 'link':
        return after(() => this.#changed.add(dirname(args[1] as string)))
      case 'rename':
        return after(() => this.#changed.add(dirname(args[0] as string)).add(dirname(args[1] as string)))
      case 'unlink':
      case 'unlinkFile':
      case 'rmdir':
        return after(() => this.#changed.add(dirname(args[0] as string)))
      case 'mkdir':
        return after((isNew) => {
          if (isNew === true) this.#made(args[0] as string, args[0] as string)
        })
      case 'mkdirs':
        return after((first) => this.#made(args[0] as string, first as string | undefined))
      default:
        return after(() => {})
    }
  }

  #opened(file: number, [path, flags]: readonly unknown[]): void {
    this.#open.set(file, path as string)
    if ((Number(flags) & constants.O_EXCL) === 0) return
    // A new file may have the number of one that is gone.
    const { ino } = fstatSync(file, { bigint: true })
    this.#contents.delete(ino)
    this.#lost.delete(ino)
    this.#written.add(ino)
    this.#changed.add(dirname(path as string))
  }

  #made(folder: string, first: string | undefined): void {
    for (let made = folder; first !== undefined && made.length >= first.length; made = dirname(made)) {
      this.#folders.set(made, new Map())
      this.#changed.add(dirname(made))
    }
  }

  #flush(file: number): Watched {
    const path = this.#open.get(file) ?? ''
    const stat = fstatSync(file, { bigint: true })
    if (stat.isDirectory()) {
      const names = this.#changed.delete(path) ? listing(path) : this.#folders.get(path)
      return after(() => this.#folders.set(path, names ?? new Map()))
    }
    const bytes = this.#written.delete(stat.ino) ? readFileSync(path) : undefined
    return {
      done: () => {
        if (bytes !== undefined && !this.#lost.has(stat.ino)) this.#contents.set(stat.ino, bytes)
      },
      failed: () => {
        if (bytes !== undefined) this.#lost.add(stat.ino)
      },
    }
  }
}

function after(done: (result: unknown) => void): Watched {
  return { done, failed: () => {} }
}

function inodeOf(path: string): bigint {
  return lstatSync(path, { bigint: true }).ino
}

function listing(folder: string): ReadonlyMap<string, bigint> {
  return new Map(readdirSync(folder).map((name) => [name, inodeOf(join(folder, name))]))
}
