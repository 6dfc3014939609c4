import { Counter, Gauge, type Registry } from 'prom-client'

/**
 * What Prometheus expects to know of every process. prom-client's own set has more, some of it under names that
 * promtool complains of, and pays for it between scrapes.
 */
export function addProcessMetrics(registry: Registry, version: string): void {
  const registers = [registry]
  const started = Date.now() / 1000 - process.uptime()
  let counted = 0
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'Processor time that the server has used, without its database.',
    registers,
    collect() {
      const { user, system } = process.cpuUsage()
      const seconds = (user + system) / 1e6
      this.inc(Math.max(0, seconds - counted))
      counted = seconds
    },
  })
  new Gauge({ name: 'process_start_time_seconds', help: 'When the server was started.', registers }).set(started)
  new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Memory that the server takes, without its database.',
    registers,
    collect() {
      this.set(process.memoryUsage.rss())
    },
  })
  new Gauge({
    name: 'iclood_build_info',
    help: 'The version of the server; always 1.',
    labelNames: ['version'],
    registers,
  }).set({ version }, 1)
}
