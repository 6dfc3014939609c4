import { it } from 'vitest'
import { needs } from '../support/needs.ts'
import { rounds } from '../support/rounds.ts'
import { cuttable } from './disk.ts'
import { cutAtRandom } from './random-cuts.ts'

it('power cuts at random moments lose and damage nothing on xfs', needs(cuttable('xfs')), () =>
  cutAtRandom('xfs', rounds(4)),
)
