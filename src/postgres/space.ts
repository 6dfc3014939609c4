import { statfs } from 'node:fs/promises'
import { DATABASE_RESERVE } from '../base/budgets.ts'
import { AppError } from '../errors.ts'

/** Sizes of the file system that holds `DATA_DIR`, in bytes; `free` is what an ordinary user may still write. */
export interface DataDirUsage {
  total: number
  used: number
  free: number
}

/** Looked at no more often than this for uploads. */
const FRESH_MS = 1_000

/** Watches the room for the embedded database: a PostgreSQL that can't write ends, and answers nobody. */
export class DataDirSpace {
  readonly #dataDir: string
  #usage: DataDirUsage | undefined
  #lookedAt = Number.NEGATIVE_INFINITY

  constructor(dataDir: string) {
    this.#dataDir = dataDir
  }

  async usage(): Promise<DataDirUsage> {
    const { bsize, blocks, bfree, bavail } = await statfs(this.#dataDir)
    return { total: blocks * bsize, used: (blocks - bfree) * bsize, free: bavail * bsize }
  }

  /** Throws `data_dir_full` while there is not enough for more rows. */
  async check(): Promise<void> {
    if (this.#usage === undefined || performance.now() - this.#lookedAt > FRESH_MS) {
      this.#usage = await this.usage()
      this.#lookedAt = performance.now()
    }
    if (this.#usage.free <= DATABASE_RESERVE) throw dataDirFull(this.#usage, this.#dataDir)
  }
}

function dataDirFull({ free }: DataDirUsage, dataDir: string): AppError {
  return new AppError(
    'data_dir_full',
    `The disk of the database (DATA_DIR) is full: ${free} bytes are free, ${DATABASE_RESERVE} are kept for PostgreSQL. Nothing is lost. Make room on it; photos are taken again by themselves then.`,
    { detail: `DATA_DIR is ${dataDir}.` },
  )
}
