'use strict'

const { spawn } = require('node:child_process')
const { constants } = require('node:os')

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP']

/**
 * Runs a command and resolves to how it ended: `status` is an exit code as a shell would have it, 127 when there is no
 * such command. With `quiet` its output is held back and returned, else it goes where ours goes. A signal sent to us is
 * passed on, so that nothing goes on working in the repository behind our back.
 */
function run([command, ...args], { cwd, env = process.env, quiet = false }) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      env,
      stdio: quiet ? ['ignore', 'pipe', 'pipe'] : 'inherit',
      // On Windows `npm` is a batch file, which only a shell runs.
      shell: process.platform === 'win32' && command === 'npm',
    })

    let output = ''
    const collect = (text) => {
      output += text
    }
    child.stdout?.setEncoding('utf8').on('data', collect)
    child.stderr?.setEncoding('utf8').on('data', collect)

    let stopped
    const passOn = (signal) => {
      stopped = signal
      child.kill(signal)
    }
    for (const signal of SIGNALS) process.on(signal, passOn)

    child.on('error', (error) => resolve({ status: 127, output: error.message }))
    child.on('close', (code, signal) => {
      for (const name of SIGNALS) process.off(name, passOn)
      if (stopped) process.kill(process.pid, stopped)
      // Still here: the caller knows what to do about the signal.
      resolve({ status: code ?? 128 + constants.signals[signal], output })
    })
  })
}

/** Ends the program with exit code 1 after telling a person what went wrong and what to do. */
function fail(sentence, details = '') {
  if (details) console.error(details.trimEnd())
  console.error(sentence)
  process.exit(1)
}

module.exports = { run, fail }
