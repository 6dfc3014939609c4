'use strict'

/*
 * Loaded into a server before its own code (NODE_OPTIONS=--require), this stands between it and the system's calls. What it
 * does is read, at each call, from the file that the environment names in ICLOOD_FAULTS; see faults.ts. Not an ES module: the
 * thread pool would be sized before the server can say how.
 */

const fs = require('node:fs')
const { ServerResponse } = require('node:http')
const { syncBuiltinESMExports } = require('node:module')

const { readFileSync, readlinkSync, writeSync } = fs
const file = process.env.ICLOOD_FAULTS

/** The fault that is armed for this call, if any. */
function faultFor(call, path) {
  let faults
  try {
    faults = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw error
  }
  return faults.find((fault) => fault.call === call && new RegExp(fault.path).test(path))
}

/** Halts the whole program where it is, for good. */
function halt(call, path) {
  writeSync(2, `\nhalted at ${call} ${path}\n`)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
}

const ofFile = (descriptor) => readlinkSync(`/proc/self/fd/${descriptor}`)

/** Names in a library are told to the system by way of their folder's descriptor. */
const ofName = (name) => {
  const [, descriptor, rest] = /^\/proc\/self\/fd\/(\d+)(\/.*)$/.exec(name) ?? []
  return descriptor === undefined ? name : ofFile(descriptor) + rest
}

const calls = {
  open: ofName,
  writev: ofFile,
  fdatasync: ofFile,
  fsync: ofFile,
  link: (_staged, path) => ofName(path),
}

for (const [call, pathOf] of Object.entries(calls)) {
  const real = fs[call]
  const wrapped = (...args) => {
    const path = String(pathOf(...args))
    const fault = faultFor(call, path)
    if (fault === undefined) return real(...args)
    const callback = args.pop()
    if (fault.does === 'halt before') halt(call, path)
    // As a drive does that answers a flush from its cache.
    if (fault.does === 'lie') return process.nextTick(callback, null)
    return real(...args, () => halt(call, path))
  }
  // What promisify goes by.
  for (const symbol of Object.getOwnPropertySymbols(real)) wrapped[symbol] = real[symbol]
  fs[call] = wrapped
}

const { mkdir } = fs.promises
fs.promises.mkdir = async (name, options) => {
  const path = ofName(name)
  const fault = faultFor('mkdir', path)
  if (fault?.does === 'halt before') halt('mkdir', path)
  const made = await mkdir(name, options)
  if (fault?.does === 'halt after') halt('mkdir', path)
  return made
}

const { writeHead } = ServerResponse.prototype
ServerResponse.prototype.writeHead = function (status, ...args) {
  const path = `${status} ${this.req.url}`
  if (faultFor('answer', path) !== undefined) halt('answer', path)
  return writeHead.call(this, status, ...args)
}

syncBuiltinESMExports()
