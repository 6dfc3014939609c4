import { it } from 'vitest'
import { needs } from '../support/needs.ts'
import { cuttable } from './disk.ts'
import { cutAtRandom } from './random-cuts.ts'

it(
  '6 power cuts at random moments lose and damage nothing on xfs',
  { ...needs(cuttable('xfs')), timeout: 600_000 },
  () => cutAtRandom('xfs', 6),
)
