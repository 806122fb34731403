import { cpus } from 'node:os'
import { BenchServer } from './bench-server.ts'
import { Subscribers } from './subscribers.ts'
import { variants, type VariantName } from './variants.ts'

// npm run bench -- [rounds] [subscribers]
const rounds = Number(process.argv[2] ?? 3)
const subscribers = Number(process.argv[3] ?? 500)
const bursts = [1, 32]
const roundMs = 1_500

/** Deliveries per second of server CPU, by variant and burst. */
type Figures = Map<VariantName, Map<number, number[]>>

console.log(`fan-out on one topic, ${subscribers} WebSocket subscribers, 120-byte JSON, ${rounds} interleaved rounds`)
console.log(`Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown CPU'}\n`)
const figures: Figures = new Map()
for (let round = 0; round < rounds; round++) {
  for (const name of Object.keys(variants) as VariantName[]) await measure(name)
  process.stdout.write(`round ${round + 1} of ${rounds}\n`)
}
report()

async function measure(name: VariantName): Promise<void> {
  const server = await BenchServer.start(name)
  const clients = await Subscribers.open(server.port, variants[name].path, variants[name].greeting, subscribers)
  await clients.ready()
  for (const burst of bursts) {
    const before = await server.cpuMs()
    let delivered = 0
    for (const until = performance.now() + roundMs; performance.now() < until;) {
      const arrived = clients.arrival(burst)
      server.publish(burst)
      await arrived
      delivered += burst * subscribers
    }
    const cpuMs = (await server.cpuMs()) - before
    note(name, burst, delivered / (cpuMs / 1000))
  }
  clients.close()
  await server.stop()
}

function note(name: VariantName, burst: number, figure: number): void {
  const byBurst = figures.get(name) ?? new Map<number, number[]>()
  figures.set(name, byBurst)
  byBurst.set(burst, [...(byBurst.get(burst) ?? []), figure])
}

function report(): void {
  console.log(
    '\nthousand deliveries per second of server CPU (median), and the ratio to bare ws with the frame made once',
  )
  for (const burst of bursts) {
    console.log(`\n  ${burst} in flight`)
    const floor = median(figures.get('ws-frame')?.get(burst) ?? [])
    for (const [name, byBurst] of figures) {
      const figure = median(byBurst.get(burst) ?? [])
      console.log(`    ${name.padEnd(12)} ${(figure / 1000).toFixed(0).padStart(6)}   × ${(figure / floor).toFixed(2)}`)
    }
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}
