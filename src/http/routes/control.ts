import { PassThrough } from 'node:stream'
import { setInterval } from 'node:timers'
import type { FastifyPluginAsync } from 'fastify'
import type Type from 'typebox'
import type { Config } from '../../config/config.ts'
import { BEAT_MS, failureOf, type Line } from '../../control/line.ts'
import type { Owner, Told } from '../../control/owner.ts'
import { WORKS, type WorkName } from '../../control/works.ts'
import { AppError } from '../../errors.ts'
import { FOR_OWNERS } from '../access/owner.ts'
import { takeJson } from '../json-body.ts'
import { untilGone } from '../until-gone.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Only whoever has the server's secret comes here: neither access nor shares are any question. */
    isOwners?: true
  }
}

/** The settings of whoever asks. */
export type SettingsMeant = Pick<Config, 'databaseUrl' | 'libraryFolder'>

/** Whom commands ask. */
export interface Control {
  readonly secret: string
  /**
   * Does `work` on what the server has open, until `signal`. Throws why it can't be done now, such as that whoever asks
   * means another database or folder.
   */
  lend<Result>(
    asked: { name: WorkName; settings: Partial<SettingsMeant>; signal: AbortSignal },
    work: (owner: Owner) => Promise<Result>,
  ): Promise<Result>
  /** Aborted, with the reason, when the server is about to stop. */
  readonly ending: AbortSignal
}

/** A person sees no more changes than that. */
const PROGRESS_MS = 100

/**
 * What commands ask the running server for. Each answer is a stream of lines (`Line`); whoever hangs up ends the work.
 * To others these routes do not exist (`FOR_OWNERS`).
 */
export function controlRoutes(control: Control): FastifyPluginAsync {
  return async (app) => {
    takeJson(app)
    for (const [name, { asked, run }] of Object.entries(WORKS) as [WorkName, AnyWork][]) {
      app.post(
        `/control/${name}`,
        { config: { isOwners: true }, constraints: FOR_OWNERS, schema: { hide: true, body: asked } },
        async (request, reply) => {
          const gone = untilGone(request, reply)
          const signal = AbortSignal.any([gone, control.ending])
          const lines = new Lines()
          const done = control
            .lend({ name, settings: settingsIn(request.body), signal }, (owner) =>
              run(owner, request.body, lines, signal),
            )
            .catch((error: unknown) => {
              if (control.ending.aborted) throw control.ending.reason
              throw error
            })
          lines.endWith(done, (error) =>
            request.log.error({ err: error }, `\`${name}\` failed in a way that nobody foresaw`),
          )
          return reply.type('application/x-ndjson').send(lines.stream)
        },
      )
    }
  }
}

function settingsIn(body: unknown): Partial<SettingsMeant> {
  const { settings } = body as { settings?: unknown }
  return typeof settings === 'object' && settings !== null ? settings : {}
}

interface AnyWork {
  asked: Type.TSchema
  run(owner: Owner, asked: unknown, told: Told<unknown>, signal: AbortSignal): Promise<unknown>
}

/** What is said while work goes on: all lines of text, and of the progress what is newest now and then. */
class Lines implements Told<unknown> {
  readonly stream = new PassThrough()
  readonly #timer = setInterval(() => this.#tick(), PROGRESS_MS)
  #news: unknown
  #saidAt = performance.now()

  readonly progress = (progress: unknown): void => {
    this.#news = progress
  }

  readonly say = (line: string): void => {
    this.#write({ say: line })
  }

  constructor() {
    // Whoever asks knows by that that it has begun.
    this.#write({ beat: true })
  }

  /** Says what comes of it. `report` hears of what nobody foresaw. */
  endWith(work: Promise<unknown>, report: (error: unknown) => void): void {
    work
      .then(
        (result) => this.#write({ result }),
        (error: unknown) => {
          if (!(error instanceof AppError)) report(error)
          this.#write({ error: failureOf(error instanceof AppError ? error : unforeseen()) })
        },
      )
      .finally(() => {
        clearInterval(this.#timer)
        this.stream.end()
      })
  }

  #tick(): void {
    if (this.#news !== undefined) this.#write({ progress: this.#news })
    else if (performance.now() - this.#saidAt >= BEAT_MS) this.#write({ beat: true })
    this.#news = undefined
  }

  #write(line: Line): void {
    this.#saidAt = performance.now()
    // A terminal that was halted reads nothing: what is kept for it is bounded, and what ends it is kept.
    if (this.stream.writableNeedDrain && ('progress' in line || 'beat' in line)) return
    if (!this.stream.destroyed) this.stream.write(`${JSON.stringify(line)}\n`)
  }
}

function unforeseen(): AppError {
  return new AppError('internal_error', 'The server failed unexpectedly; its log says why. Try again.')
}
