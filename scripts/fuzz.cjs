'use strict'

const { rmSync } = require('node:fs')
const { join } = require('node:path')
const { prepare, root } = require('./prepare.cjs')
const { fail, run } = require('./run.cjs')

// Within the repository, since what is compiled looks for packages above itself.
const compiled = join(root, 'node_modules', '.cache', 'iclood-fuzz', String(process.pid))

/** Compiles the fuzzers and runs them; see test/fuzz/main.ts. Ends with 1 if something failed. */
async function main() {
  await prepare({ tests: true })
  // The fuzzers end by themselves then, with a report; what is compiled is removed after them.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {})
  try {
    const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
    const project = join(root, 'test', 'fuzz', 'tsconfig.json')
    const { status, output } = await run([process.execPath, compiler, '-p', project, '--outDir', compiled], {
      cwd: root,
      quiet: true,
    })
    if (status !== 0) fail('test/fuzz does not compile; see above.', output)
    const program = join(compiled, 'test', 'fuzz', 'main.js')
    const ran = await run([process.execPath, program, root, ...process.argv.slice(2)], { cwd: root })
    process.exitCode = ran.status
  } finally {
    rmSync(compiled, { recursive: true, force: true })
  }
}

main()
