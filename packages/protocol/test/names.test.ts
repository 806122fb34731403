import { expect, test } from 'vitest'
import { defaultBase, defaultLimits, headerName, paths, protocolVersion, subprotocol } from '@crossfade/protocol'

test('the subprotocol names the version (R31)', () => {
  expect(subprotocol).toBe(`crossfade.v${protocolVersion}`)
})

test('the paths are those of the contract (R20, R25, R34)', () => {
  expect(paths).toEqual({
    poll: '/poll',
    sse: '/sse',
    websocket: '/ws',
    probe: '/probe',
    rpc: '/rpc',
    report: '/report',
    health: '/health',
    metrics: '/metrics',
    features: '/features',
  })
  expect(defaultBase).toBe('/crossfade')
  expect(headerName).toBe('Crossfade')
})

test('the limits are those of the contract (R9, R20, R25, R32)', () => {
  expect(defaultLimits).toMatchObject({
    maxMessageBytes: 64 * 1024,
    maxEventBytes: 1024 * 1024,
    maxOutboxBytes: 1024 * 1024,
    maxAnswerBytes: 1024 * 1024,
    historyBytes: 4 * 1024 * 1024,
    historyMs: 10 * 60 * 1000,
    maxBodyBytes: 256 * 1024,
    heartbeatMs: 15_000,
    helloMs: 5_000,
    lingerMs: 250,
  })
})
