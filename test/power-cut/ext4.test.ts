import { it } from 'vitest'
import { needs } from '../support/needs.ts'
import { cuttable } from './disk.ts'
import { cutAtRandom } from './random-cuts.ts'

it(
  '18 power cuts at random moments lose and damage nothing on ext4',
  { ...needs(cuttable('ext4')), timeout: 600_000 },
  () => cutAtRandom('ext4', 18),
)
