import { cpus } from 'node:os'
import { BenchServer } from './bench-server.ts'
import { Subscribers } from './subscribers.ts'
import { floors, variants, type VariantName } from './variants.ts'

// npm run bench -- [rounds] [subscribers]
const rounds = Number(process.argv[2] ?? 3)
const subscribers = Number(process.argv[3] ?? 500)
const bursts = [1, 32]
const roundMs = 1_500
/** Code that has just been loaded runs slowly, the more of it the slower: nobody's figures begin before this has passed. */
const warmUpMs = 1_000

const names = Object.keys(variants) as VariantName[]

/** Deliveries per second of server CPU, by variant and burst. */
type Figures = Map<VariantName, Map<number, number[]>>

console.log(`fan-out on one topic, ${subscribers} subscribers, 120-byte JSON, ${rounds} interleaved rounds`)
console.log(`Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown CPU'}\n`)
const figures: Figures = new Map()
for (let round = 0; round < rounds; round++) {
  for (const name of names) await measure(name)
  process.stdout.write(`round ${round + 1} of ${rounds}\n`)
}
report()

async function measure(name: VariantName): Promise<void> {
  const server = await BenchServer.start(name)
  const clients = await Subscribers.open(server.port, variants[name], subscribers)
  await clients.ready()
  for (const burst of bursts) {
    await publishFor(warmUpMs, server, clients, burst)
    const before = await server.cpuMs()
    const delivered = await publishFor(roundMs, server, clients, burst)
    note(name, burst, delivered / (((await server.cpuMs()) - before) / 1000))
  }
  clients.close()
  await server.stop()
}

/** Publishes again as soon as everybody has everything. @returns how many deliveries that made. */
async function publishFor(ms: number, server: BenchServer, clients: Subscribers, burst: number): Promise<number> {
  let delivered = 0
  for (const until = performance.now() + ms; performance.now() < until;) {
    const arrived = clients.arrival(burst)
    server.publish(burst)
    await arrived
    delivered += burst * subscribers
  }
  return delivered
}

function note(name: VariantName, burst: number, figure: number): void {
  const byBurst = figures.get(name) ?? new Map<number, number[]>()
  figures.set(name, byBurst)
  byBurst.set(burst, [...(byBurst.get(burst) ?? []), figure])
}

function report(): void {
  console.log("\nthousand deliveries per second of server CPU (median), and the ratio to the transport's first line")
  for (const [transport, floor] of Object.entries(floors)) {
    for (const burst of bursts) {
      console.log(`\n  ${transport}, ${burst} in flight`)
      const floorFigure = medianOf(floor, burst)
      for (const name of [floor, ...others(transport, floor)]) {
        const figure = medianOf(name, burst)
        const ratio = (figure / floorFigure).toFixed(2)
        console.log(`    ${name.padEnd(14)} ${(figure / 1000).toFixed(0).padStart(6)}   × ${ratio}`)
      }
    }
  }
}

function others(transport: string, floor: VariantName): VariantName[] {
  return names.filter((name) => variants[name].transport === transport && name !== floor)
}

function medianOf(name: VariantName, burst: number): number {
  return median(figures.get(name)?.get(burst) ?? [])
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}
