/** By folder: when the drive there last ended a call that no memory answers in its stead; monotonic. */
const endedIn = new Map<string, number>()
/** By descriptor: the folder of the library that the file is in. */
const folderOf = new Map<number, string>()

/** When a flush or a read on the drive with that library last ended, well or not. */
export function lastAnswerOf(folder: string): number {
  return endedIn.get(folder) ?? Number.NEGATIVE_INFINITY
}

/** Notes which library an open file is in. */
export function isIn(folder: string, file: number): number {
  folderOf.set(file, folder)
  return file
}

/** To be called before a file is closed: its number is another's as soon as it is. */
export function isInNone(file: number): void {
  folderOf.delete(file)
}

/** The same call, of which it is noted when it ends. */
export function noted<Args extends unknown[], Result>(
  call: (file: number, ...args: Args) => Promise<Result>,
): (file: number, ...args: Args) => Promise<Result> {
  return async (file, ...args) => {
    const folder = folderOf.get(file)
    try {
      return await call(file, ...args)
    } finally {
      if (folder !== undefined) endedIn.set(folder, performance.now())
    }
  }
}
