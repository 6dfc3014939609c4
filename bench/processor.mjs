import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'

/** Whether the processor has instructions for SHA-256, by Linux's names for them; undefined where that can't be told. */
export const hasSha = flagsOf(readFileSync('/proc/cpuinfo', 'utf8'))?.some(
  (flag) => flag === 'sha_ni' || flag === 'sha2',
)

/**
 * A way in which our server is measured: `column` of the table, and what its processor is said to be like; `program` if it is not
 * this clone's.
 * @typedef {{
 *   name: string, column: string, env: Record<string, string>, hasSha: boolean | undefined, program?: string
 * }} Mode
 */

/** As the machine is. @type {Mode} */
const AS_IS = { name: 'iClood', column: 'iclood', env: {}, hasSha }

/** With the instructions hidden from OpenSSL, which computes then as on a processor without them: a Raspberry Pi 4 has none. @type {Mode} */
const HIDDEN = {
  name: 'iClood without SHA instructions',
  column: 'hidden',
  env: { OPENSSL_ia32cap: ':~0x20000000' },
  hasSha: false,
}

/** @type {Record<string, Mode>} */
export const MODES = hasSha && process.arch === 'x64' ? { 'as-is': AS_IS, hidden: HIDDEN } : { 'as-is': AS_IS }

/** The same of the program of another clone, an earlier version's. @param {Mode} mode @returns {Mode} */
export function before({ name, column, ...mode }, clone) {
  return { ...mode, name: `${name}, before`, column: `${column}-before`, program: join(clone, 'bin/iclood.cjs') }
}

/** What the table was measured on, in words. */
export function describeProcessor() {
  const [cpu] = cpus()
  const sha = hasSha === undefined ? 'perhaps with' : hasSha ? 'with' : 'without'
  return `${cpu?.model ?? 'Unknown processor'}, ${sha} SHA instructions, ${cpus().length} cores`
}

function flagsOf(info) {
  return /^(?:flags|Features)\s*: (.*)$/m.exec(info)?.[1].split(' ')
}
