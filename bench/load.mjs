import { connect } from 'node:net'
import { BLOCKS_IN_FLIGHT, nameOf, Payload } from './payload.mjs'

/*
 * The phones: a process of its own, so that what it costs is not counted as the server's. Gets one job as a message and
 * answers with one.
 */

/**
 * @typedef {object} Job
 * @property {number} port
 * @property {'form' | 'put'} style `form`: as the app uploads; `put`: as WebDAV has it.
 * @property {import('./payload.mjs').Kind} kind
 * @property {number} size Bytes of each file.
 * @property {number} count Files in all.
 * @property {number} first The number of the first file.
 * @property {number} connections
 */

/**
 * @typedef {object} Outcome
 * @property {number} seconds From the first byte sent to the last answer.
 * @property {{ index: number, path: string }[]} sample Some of the files, and where the server says that they are.
 */

const SAMPLES = 5

process.once('message', (job) => {
  run(job).then(
    (outcome) => process.send(outcome, () => process.disconnect()),
    (error) => {
      console.error(error)
      process.exit(1)
    },
  )
})

/** @param {Job} job @returns {Promise<Outcome>} */
async function run(job) {
  const phones = await Promise.all(Array.from({ length: job.connections }, () => Phone.connect(job)))
  const sampled = Math.ceil(job.count / SAMPLES)
  const sample = []
  let next = 0
  const began = performance.now()
  await Promise.all(
    phones.map(async (phone) => {
      while (next < job.count) {
        const position = next++
        const index = job.first + position
        const answer = await phone.send(index)
        if (position % sampled === 0) sample.push({ index, path: pathIn(job, answer, index) })
      }
    }),
  )
  const seconds = (performance.now() - began) / 1000
  for (const phone of phones) phone.close()
  return { seconds, sample }
}

function pathIn(job, answer, index) {
  return job.style === 'put' ? nameOf(job.kind, index) : JSON.parse(answer).backup.file_path
}

/** One connection, kept alive, that sends one file after the other. */
class Phone {
  #socket
  #job
  #payload
  #received = ''
  #settle

  static async connect(job) {
    const socket = connect({ port: job.port, host: '127.0.0.1', noDelay: true })
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    return new Phone(socket, job)
  }

  constructor(socket, job) {
    this.#socket = socket
    this.#job = job
    this.#payload = new Payload(job)
    const fail = (error) => this.#settle?.reject(error ?? new Error(`the server hung up: ${this.#received}`))
    socket.setEncoding('latin1').on('data', (text) => this.#receive(text))
    socket.on('error', fail).on('close', () => fail())
  }

  /** Resolves to the body of the answer; rejects unless that says that the file is new. */
  send(index) {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
      this.#write(index).catch(reject)
    })
  }

  close() {
    this.#socket.destroy()
  }

  async #write(index) {
    const { style, kind, port } = this.#job
    const { size, blockCount } = this.#payload
    const name = nameOf(kind, index)
    const { head, tail } = style === 'form' ? formAround(name, kind, size, port) : putAround(name, size, port)
    const socket = this.#socket
    socket.cork()
    socket.write(head, 'latin1')
    for (let position = 0; position < blockCount; position++) {
      const block = this.#payload.block(index, position)
      // A block may be changed only when the system has it; a photo's are never asked for twice before the answer.
      if (position % (BLOCKS_IN_FLIGHT / 2) !== BLOCKS_IN_FLIGHT / 2 - 1) socket.write(block)
      else {
        const written = new Promise((resolve) => socket.write(block, resolve))
        socket.uncork()
        await written
        socket.cork()
      }
    }
    socket.write(tail, 'latin1')
    socket.uncork()
  }

  #receive(text) {
    this.#received += text
    const end = this.#received.indexOf('\r\n\r\n')
    if (end < 0) return
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(this.#received.slice(0, end))?.[1])
    if (this.#received.length < end + 4 + length) return
    const answer = this.#received
    this.#received = ''
    if (answer.startsWith('HTTP/1.1 201 ')) this.#settle.resolve(answer.slice(end + 4))
    else this.#settle.reject(new Error(`a file was not taken: ${answer}`))
  }
}

const BOUNDARY = 'a1b2c3d4e5'.repeat(7)

/** The form as React Native on iOS writes it: the file first, headers in lower case. */
function formAround(name, kind, size, port) {
  const type = kind === 'photo' ? 'image/jpeg' : 'video/quicktime'
  const part = `--${BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="${name}"; filename*=utf-8''${name}\r\ncontent-type: ${type}\r\n\r\n`
  const fields = {
    original_path: `file:///var/mobile/Media/DCIM/100APPLE/${name}`,
    file_type: kind,
    device_id: 'iPhone 16 Pro',
  }
  let tail = ''
  for (const [field, value] of Object.entries(fields)) {
    tail += `\r\n--${BOUNDARY}\r\ncontent-disposition: form-data; name="${field}"\r\n\r\n${value}`
  }
  tail += `\r\n--${BOUNDARY}--\r\n`
  const length = part.length + size + tail.length
  const head = `POST /photos/upload HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: multipart/form-data; boundary=${BOUNDARY}\r\nContent-Length: ${length}\r\n\r\n${part}`
  return { head, tail }
}

function putAround(name, size, port) {
  return { head: `PUT /${name} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Length: ${size}\r\n\r\n`, tail: '' }
}
