/** How the drive with the library in a folder has answered: one for all that touch it there. */
export interface Answers {
  /** When a flush or a read there last ended, well or not: a call that no memory answers in its stead; monotonic. */
  endedAt: number
  /**
   * Looks that it has left without an answer for too long. Each holds one of the few threads that all drives share, so
   * whoever looks at the same drive next must know.
   */
  owed: number
  /** Folders in it, relative, whose last flush has failed: names in them may be lost. */
  readonly unflushed: Set<string>
}

const answersIn = new Map<string, Answers>()
/** By descriptor: of the library that the file is in. */
const answersFor = new Map<number, Answers>()

export function answersOf(folder: string): Answers {
  const known = answersIn.get(folder)
  if (known !== undefined) return known
  const none = { endedAt: Number.NEGATIVE_INFINITY, owed: 0, unflushed: new Set<string>() }
  answersIn.set(folder, none)
  return none
}

/** Notes which library an open file is in. */
export function isIn(answers: Answers, file: number): number {
  answersFor.set(file, answers)
  return file
}

/** To be called before a file is closed: its number is another's as soon as it is. */
export function isInNone(file: number): void {
  answersFor.delete(file)
}

/** The same call, of which it is noted when it ends. */
export function noted<Args extends unknown[], Result>(
  call: (file: number, ...args: Args) => Promise<Result>,
): (file: number, ...args: Args) => Promise<Result> {
  return async (file, ...args) => {
    const answers = answersFor.get(file)
    try {
      return await call(file, ...args)
    } finally {
      if (answers !== undefined) answers.endedAt = performance.now()
    }
  }
}
