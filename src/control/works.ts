import type Type from 'typebox'
import type { Static } from 'typebox'
import { AcceptAsked, accept } from './accept.ts'
import { ForgetAsked, forget } from './forget.ts'
import { MirrorAsked, mirror } from './mirror.ts'
import type { Owner, Told } from './owner.ts'
import { RebuildAsked, rebuildNow } from './rebuild.ts'
import { StatusAsked, status } from './status.ts'
import { VerifyAsked, verify } from './verify.ts'

/** A piece of work: what it is asked with, and how it is done. What it tells and returns is JSON. */
interface Work<Asked extends Type.TSchema, Progress, Result> {
  asked: Asked
  run(owner: Owner, asked: Static<Asked>, told: Told<Progress>, signal: AbortSignal): Promise<Result>
}

const work = <Asked extends Type.TSchema, Progress, Result>(
  asked: Asked,
  run: Work<Asked, Progress, Result>['run'],
): Work<Asked, Progress, Result> => ({ asked, run })

/** All that can be asked for, by the names of the commands. */
export const WORKS = {
  verify: work(VerifyAsked, verify),
  rebuild: work(RebuildAsked, rebuildNow),
  mirror: work(MirrorAsked, mirror),
  status: work(StatusAsked, status),
  accept: work(AcceptAsked, accept),
  forget: work(ForgetAsked, forget),
} as const

export type WorkName = keyof typeof WORKS
export type Asked<Name extends WorkName> = Static<(typeof WORKS)[Name]['asked']>
export type Progress<Name extends WorkName> = Parameters<Parameters<(typeof WORKS)[Name]['run']>[2]['progress']>[0]
export type Result<Name extends WorkName> = Awaited<ReturnType<(typeof WORKS)[Name]['run']>>
