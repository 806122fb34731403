import type { CrossfadeError } from '@crossfade/protocol'
import { afterEach, beforeEach } from 'vitest'
import { WebSocket } from 'ws'
import { createClient, type Client, type ClientOptions, type ClientStatus, type Timing } from '../src/index.ts'
import { ScriptedServer } from './scripted-server.ts'

// A test file that imports this one gets a server for each of its tests, and the clients that a test opened are closed after it.

/** Fast enough for a test; that one thing is later than another never decides. */
const timing: Partial<Timing> = {
  proofMs: 10_000,
  proofSpacingMs: 30,
  shortLifeMs: 400,
  climbMs: 150,
  maxClimbMs: 300,
  holdMs: 3_000,
  pollSpacingMs: 20,
  shortPollMs: 50,
  probeMs: 500,
  pacingMs: 50,
}

/** How long what will be so takes decides nothing. */
export const patiently = { timeout: 20_000, interval: 5 }

/** The server of the test that runs. */
export let server: ScriptedServer
const clients: Client[] = []

beforeEach(async () => {
  server = await ScriptedServer.start()
})

afterEach(async () => {
  for (const client of clients.splice(0)) client.close()
  await server.close()
})

/** A client of the server, with timing for tests. */
export function open(options: Partial<ClientOptions> = {}): Client {
  const environment = { WebSocket, ...options.environment }
  const client = createClient({
    origin: server.origin,
    ...options,
    timing: { ...timing, ...options.timing },
    environment,
  })
  clients.push(client)
  return client
}

/** The status, as soon as it is so. */
export async function until(client: Client, isSo: (status: ClientStatus) => boolean): Promise<ClientStatus> {
  if (isSo(client.status)) return client.status
  return new Promise((resolve) => {
    const off = client.on('status', (status) => {
      if (!isSo(status)) return
      off()
      resolve(status)
    })
  })
}

export const liveOn =
  (transport: string) =>
  (status: ClientStatus): boolean =>
    status.state === 'live' && status.transport === transport

/** A subscription that keeps what it was told. */
export function listen(client: Client, topic: string): unknown[] {
  const told: unknown[] = []
  client.subscribe(topic, {
    onValue: (value) => told.push(value),
    onEvent: ({ data }) => told.push(data),
    onError: (error: CrossfadeError) => told.push(error.code),
  })
  return told
}
