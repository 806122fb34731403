import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { subprotocol } from '@crossfade/protocol'
import { startEmbeddedPostgres } from '@crossfade/testkit/embedded-postgres'
import pg from 'pg'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import {
  aliveInGroup,
  eventually,
  folderOfData,
  isAlive,
  isListening,
  npmStart,
  postmasterPid,
  ready,
  type DemoProcess,
  type ReadyDemo,
} from './demo-process.ts'
import { openStream, postJson } from './product.ts'

const startMs = 40_000
const endMs = 15_000
let folder: string
let started: (DemoProcess | ReadyDemo)[]

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'crossfade-demo-test-'))
  started = []
})

afterEach(() => {
  for (const demo of started) killAll(demo)
  for (const path of [folder, `${folder}.password`]) rmSync(path, { recursive: true, force: true })
})

function killAll(demo: DemoProcess | ReadyDemo): void {
  kill(-demo.pid, 'SIGKILL')
  if ('postgresPid' in demo) kill(demo.postgresPid, 'SIGKILL')
}

/** Sends a signal to a process that may be gone already. */
function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It is gone.
  }
}

async function start(environment: Record<string, string> = {}, withinMs = startMs): Promise<ReadyDemo> {
  const demo = npmStart({ DEMO_DATA: folder, ...environment })
  started.push(demo)
  const serving = await ready(demo, folder, withinMs)
  started.push(serving)
  return serving
}

/** Whether a change reaches a stream; while nothing is pushed, streams end. */
async function isPushed(demo: ReadyDemo, status: string): Promise<boolean> {
  const url = `${demo.origin}/api/orders/1`
  const stream = await openStream(url)
  try {
    await stream.next<{ type: string }>(({ type }) => type === 'event')
    const changed = stream.next<object>((message) => JSON.stringify(message).includes(status))
    await Promise.all([changed, postJson(url, { status }, undefined, 'PATCH')])
    return true
  } catch {
    return false
  } finally {
    stream.close()
  }
}

/** Nothing of it is left: no process, no port. */
async function expectNothingLeft(demo: ReadyDemo): Promise<void> {
  await eventually(5_000, () => aliveInGroup(demo.pid).length === 0)
  expect(isAlive(demo.postgresPid)).toBe(false)
  expect(await isListening(demo.port)).toBe(false)
  expect(await isListening(demo.postgresPort)).toBe(false)
}

it('prints where it is, each on a line alone, and ends with 0 on SIGTERM to npm alone', async () => {
  const demo = await start()
  expect(demo.output()).toMatch(/^Database postgres:\/\/\S+$/m)
  expect(demo.output()).toMatch(/^Crossfade demo ready on http:\/\/127\.0\.0\.1:\d+$/m)
  expect(demo.output()).toMatch(/^Operator token \S+$/m)
  expect(await (await fetch(demo.origin)).text()).toContain('<title>Crossfade')
  expect(await (await fetch(`${demo.origin}/demo/info`)).json()).toEqual({ databaseUrl: demo.databaseUrl })
  process.kill(demo.pid, 'SIGTERM')
  expect(await demo.exitCode(endMs)).toBe(0)
  expect(demo.output()).not.toContain('PostgreSQL ended')
  await expectNothingLeft(demo)
})

it.for(['never', 'at once', 'when it drains'])(
  'ends with 0 on SIGTERM to the process group, repeated %s',
  async (when) => {
    const demo = await start()
    process.kill(-demo.pid, 'SIGTERM')
    if (when === 'at once') process.kill(-demo.pid, 'SIGTERM')
    if (when === 'when it drains') {
      await eventually(endMs, async () => !(await isListening(demo.port)))
      kill(-demo.pid, 'SIGTERM')
    }
    expect(await demo.exitCode(endMs)).toBe(0)
    await expectNothingLeft(demo)
  },
)

it('can be ended while it starts', async () => {
  const demo = npmStart({ DEMO_DATA: folder })
  started.push(demo)
  await eventually(startMs, () => demo.output().includes('Starting PostgreSQL'))
  process.kill(-demo.pid, 'SIGTERM')
  expect(await demo.exitCode(endMs)).toBe(0)
  await eventually(5_000, () => aliveInGroup(demo.pid).length === 0)
  // Whatever the first one left behind does not hinder the second.
  const second = await start()
  process.kill(second.pid, 'SIGTERM')
  expect(await second.exitCode(endMs)).toBe(0)
  await expectNothingLeft(second)
})

it('starts after kill -9 while it made its data', async () => {
  const demo = npmStart({ DEMO_DATA: folder })
  started.push(demo)
  await eventually(startMs, () => demo.output().includes('Starting PostgreSQL'))
  await new Promise((resolve) => setTimeout(resolve, 400))
  process.kill(-demo.pid, 'SIGKILL')
  const second = await start()
  process.kill(second.pid, 'SIGTERM')
  expect(await second.exitCode(endMs)).toBe(0)
  await expectNothingLeft(second)
})

it('refuses data that another demo runs on, and leaves that one alone', async () => {
  const demo = await start()
  const second = npmStart({ DEMO_DATA: folder })
  started.push(second)
  expect(await second.exitCode(startMs)).toBe(1)
  expect(second.output()).toMatch(/^The demo did not start: the process \d+ already runs a database on /m)
  expect((await fetch(`${demo.origin}/api/orders`)).status).toBe(200)
  process.kill(demo.pid, 'SIGTERM')
  expect(await demo.exitCode(endMs)).toBe(0)
  await expectNothingLeft(demo)
})

it.for([
  ['nonsense', /DATABASE_URL must look like postgres:\/\/.*got "nonsense"/],
  ['mysql://me:secret@db/shop', /DATABASE_URL must look like postgres:\/\/[^"]*$/m],
  [
    'postgres://me:secret@127.0.0.1:1/shop',
    /DATABASE_URL \(127\.0\.0\.1:1\) says: .*ECONNREFUSED.*Check host and port/,
  ],
] as const)('says what to do about DATABASE_URL=%s', async ([url, says]) => {
  const demo = npmStart({ DATABASE_URL: url })
  started.push(demo)
  expect(await demo.exitCode(startMs)).toBe(1)
  expect(demo.output()).toMatch(says)
  expect(demo.output().match(/DATABASE_URL (must|\()/g)).toHaveLength(1)
  expect(demo.output()).not.toContain('secret')
})

it('names the setting or right that a database lacks, and leaves it as it was', async () => {
  const server = await startEmbeddedPostgres({ flags: ['-c', 'wal_level=logical'] })
  const admin = new pg.Client(server.url)
  try {
    await admin.connect()
    await admin.query(`CREATE ROLE plain LOGIN PASSWORD 'x'`)
    const url = server.url.replace('postgres:postgres@', 'plain:x@')
    const refusal = async (): Promise<string> => {
      const demo = npmStart({ DATABASE_URL: url })
      started.push(demo)
      expect(await demo.exitCode(startMs)).toBe(1)
      expect(demo.output()).toContain('Database postgres://plain@')
      expect(demo.output()).not.toContain('plain:x@')
      return demo.output()
    }
    expect(await refusal()).toContain('The user plain may not replicate. Run ALTER ROLE plain REPLICATION')
    await admin.query('ALTER ROLE plain REPLICATION')
    expect(await refusal()).toMatch(/permission denied for schema public.*GRANT CREATE ON SCHEMA public TO plain/)
    const { rows } = await admin.query(`SELECT FROM pg_tables WHERE schemaname = 'public'`)
    expect(rows).toEqual([])
  } finally {
    await admin.end()
    await server.stop()
  }
})

it('tells open clients to come back, and does not wait for them', async () => {
  const demo = await start()
  const stream = await openStream(`${demo.origin}/api/orders`)
  await stream.next<{ type: string }>(({ type }) => type === 'event')
  const socket = new WebSocket(`${demo.origin.replace('http', 'ws')}/crossfade/ws`, subprotocol)
  await once(socket, 'open')
  const messages: string[] = []
  socket.on('message', (data) => messages.push(...(data as Buffer).toString().split('\n')))
  socket.send(JSON.stringify({ type: 'hello', protocol: 1 }))
  await once(socket, 'message')
  const held = fetch(`${demo.origin}/api/orders`, {
    headers: {
      prefer: 'wait=20',
      'if-none-match': (await fetch(`${demo.origin}/api/orders`)).headers.get('etag') ?? '',
    },
  }).catch(() => null)
  const closed = once(socket, 'close')
  const bye = stream.next<{ type: string; code: number }>(({ type }) => type === 'bye')
  process.kill(demo.pid, 'SIGTERM')
  expect(await demo.exitCode(endMs)).toBe(0)
  expect((await bye).code).toBe(1001)
  expect((await closed)[0]).toBe(1001)
  expect(messages.some((line) => line.includes('"bye"'))).toBe(true)
  await held
  await expectNothingLeft(demo)
})

it('starts again within 15 s on the same data and port after kill -9 of everything', async () => {
  const demo = await start()
  const answer = await postJson(`${demo.origin}/api/orders`, { item: 'Survivor', quantity: 7 })
  const order = (await answer.json()) as { id: number }
  process.kill(-demo.pid, 'SIGKILL')
  process.kill(demo.postgresPid, 'SIGKILL')
  await demo.exitCode(endMs)
  const second = await start({ PORT: String(demo.port) }, 15_000)
  expect(second.port).toBe(demo.port)
  expect(second.databaseUrl).toBe(demo.databaseUrl)
  expect(await (await fetch(`${second.origin}/api/orders/${order.id}`)).json()).toEqual(order)
  const stream = await openStream(`${second.origin}/api/orders/${order.id}`)
  await stream.next<{ type: string }>(({ type }) => type === 'event')
  await postJson(`${second.origin}/api/orders/${order.id}`, { status: 'packing' }, undefined, 'PATCH')
  await stream.next<object>((message) => JSON.stringify(message).includes('packing'))
  stream.close()
  process.kill(-second.pid, 'SIGTERM')
  expect(await second.exitCode(endMs)).toBe(0)
  await expectNothingLeft(second)
})

it('leaves no server behind when the demo is killed and its database is not', async () => {
  const demo = await start()
  process.kill(-demo.pid, 'SIGKILL')
  await demo.exitCode(endMs)
  const second = await start({ PORT: String(demo.port) }, 15_000)
  expect(isAlive(demo.postgresPid)).toBe(false)
  process.kill(second.pid, 'SIGTERM')
  expect(await second.exitCode(endMs)).toBe(0)
  await expectNothingLeft(second)
})

it.for(['SIGINT', 'SIGKILL'] as const)('starts its database again when that dies of %s', async (signal) => {
  const demo = await start()
  process.kill(demo.postgresPid, signal)
  await eventually(startMs, () => demo.output().includes(`PostgreSQL runs again on port ${demo.postgresPort}.`))
  const how = signal === 'SIGINT' ? '0' : 'SIGKILL'
  expect(demo.output()).toContain(`PostgreSQL ended (${how}). Starting it again …`)
  const again = { ...demo, postgresPid: postmasterPid(folderOfData(demo, folder)) }
  started.push(again)
  expect(again.postgresPid).not.toBe(demo.postgresPid)
  await eventually(startMs, async () => (await fetch(`${demo.origin}/api/orders/1`)).status === 200)
  await eventually(startMs, () => isPushed(demo, 'after the death'))
  process.kill(demo.pid, 'SIGTERM')
  expect(await demo.exitCode(endMs)).toBe(0)
  expect(demo.output().match(/PostgreSQL ended/g)).toHaveLength(1)
  await expectNothingLeft(again)
})

it('ends with 1 and says why when its database cannot be started again', async () => {
  const demo = await start()
  const data = folderOfData(demo, folder)
  // Without its control file no server starts.
  rmSync(join(data, 'global/pg_control'))
  process.kill(demo.postgresPid, 'SIGKILL')
  expect(await demo.exitCode(startMs)).toBe(1)
  expect(demo.output()).toMatch(
    /^The demo ends: PostgreSQL ended \(SIGKILL\) and was started again 5 times .*could not find/m,
  )
  await expectNothingLeft(demo)
})

it('says in one line which port is taken, and ends with 1', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  const demo = npmStart({ DEMO_DATA: folder, PORT: String(port) })
  started.push(demo)
  expect(await demo.exitCode(startMs)).toBe(1)
  const errors = demo
    .output()
    .split('\n')
    .filter((line) => line.includes('The demo did not start'))
  expect(errors).toEqual([`The demo did not start: the port ${port} is taken. Set PORT to another, or to 0 for any.`])
  expect(demo.output()).not.toContain('    at ')
  await eventually(5_000, () => aliveInGroup(demo.pid).length === 0)
  const url = /^Database (postgres:\/\/\S+)$/m.exec(demo.output())?.[1]
  expect(await isListening(Number(new URL(url ?? '').port))).toBe(false)
  other.close()
})

it.for(['http', '-1', '65536', '1.5'])('refuses PORT=%s and names it', async (port) => {
  const demo = npmStart({ DEMO_DATA: folder, PORT: port })
  started.push(demo)
  expect(await demo.exitCode(startMs)).toBe(1)
  expect(demo.output()).toContain(`PORT must be a number from 0 to 65535, got "${port}".`)
})
