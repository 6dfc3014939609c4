import { Agent, request } from 'node:http'

const agent = new Agent({ keepAlive: true })

/**
 * Sends one request and returns its answer, parsed, with the milliseconds until its last byte. Throws unless it is 200.
 * @param {{ port: number }} server
 * @param {string} path
 * @param {string} [body] JSON; makes it a POST.
 */
export function ask(server, path, body) {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', ...(body && { 'content-length': Buffer.byteLength(body) }) }
    const method = body === undefined ? 'GET' : 'POST'
    const began = performance.now()
    const sent = request({ agent, port: server.port, host: '127.0.0.1', method, path, headers }, (answer) => {
      const chunks = []
      answer.on('data', (chunk) => chunks.push(chunk)).on('error', reject)
      answer.on('end', () => {
        const ms = performance.now() - began
        const text = Buffer.concat(chunks).toString()
        if (answer.statusCode === 200) resolve({ ms, answer: JSON.parse(text) })
        else reject(new Error(`${path} answered ${answer.statusCode}: ${text}`))
      })
    })
    sent.on('error', reject).end(body)
  })
}
