import { withResolvers } from '../base/resolvers.ts'
import type { Database } from '../catalogue/connection.ts'
import { assess } from '../health/assess.ts'
import type { Health } from '../health/model.ts'
import { Monitor } from '../health/monitor.ts'
import { keepHeartBeating } from '../notify/heartbeat.ts'
import { receiverAt } from '../notify/receiver.ts'
import { Teller } from '../notify/teller.ts'
import type { DataDirSpace } from '../postgres/space.ts'
import type { Start } from './start.ts'

/** Looks after the household's backup, also while the drive is away. */
export interface Watch {
  assess(): Promise<Health>
  /** Keeps the alerts up to date and tells whoever wants to know, until `signal`. */
  run(signal: AbortSignal): Promise<void>
}

export function createWatch(
  { config, state, log, settled }: Start,
  db: Database,
  dataDirSpace: DataDirSpace | undefined,
): Watch {
  const now = () => new Date()
  const subject = {
    db,
    library: () => state.library(),
    mirrors: () => state.mirrorStatuses(),
    journal: () => state.journalTrouble(),
    dataDir: async () => dataDirSpace?.usage(),
    rules: config,
    now,
  }
  /** A database without room may be away for that reason, which people should know. */
  const look = () =>
    assess(subject).catch(async (error: unknown) => {
      await dataDirSpace?.check()
      throw error
    })
  const teller = new Teller(db, config.notifyUrls.map(receiverAt), log, now)
  const monitor = new Monitor({
    db,
    assess: look,
    onChange: () => teller.poke(),
    onOutage: (outage) => teller.setOutage(outage),
    log,
    now,
  })
  state.onTrouble(monitor.soon)
  const isHealthy = async () => (await look()).problems.every(({ severity }) => severity !== 'error')
  const url = config.heartbeatUrl
  const beat = async (signal: AbortSignal) => {
    if (url !== undefined) await keepHeartBeating({ url, isHealthy, log }, signal)
  }
  return {
    assess: async () => {
      const health = await look()
      monitor.compare(health)
      return health
    },
    run: async (signal) => {
      // Before that nothing is known, and what is not known would look like trouble.
      await orAborted(settled.promise, signal)
      await Promise.all([monitor.run(signal), teller.run(signal), beat(signal)])
    },
  }
}

/** Resolves when `promise` does, or on `signal`. */
async function orAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  const { promise: aborted, resolve } = withResolvers<void>()
  const onAbort = () => resolve()
  signal.addEventListener('abort', onAbort, { once: true })
  await Promise.race([promise, aborted])
  signal.removeEventListener('abort', onAbort)
}
