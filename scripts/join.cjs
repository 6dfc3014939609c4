'use strict'

const { cpSync, mkdirSync, readdirSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')

// Each is hundreds of small files, which Node finds, reads, checks and links one by one: two thirds of a start's files.
const PACKAGES = ['kysely', 'typebox']

/**
 * Writes each of these packages as one file, with its licence, to `node_modules` of `dist`, where Node looks before it
 * looks in the clone's.
 */
async function joinPackages(root, dist) {
  const { build } = await import('rolldown')
  for (const name of PACKAGES) {
    const original = join(root, 'node_modules', name)
    const joined = join(dist, 'node_modules', name)
    mkdirSync(joined, { recursive: true })
    await build({
      cwd: root,
      input: name,
      platform: 'node',
      treeshake: false,
      logLevel: 'warn',
      output: { file: join(joined, 'index.js'), format: 'esm' },
    })
    writeFileSync(join(joined, 'package.json'), JSON.stringify({ name, type: 'module', exports: './index.js' }))
    const licence = readdirSync(original).find((file) => /^licen[cs]e/i.test(file))
    cpSync(join(original, licence), join(joined, licence))
  }
}

module.exports = { joinPackages }
