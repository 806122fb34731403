import { describe, expect, it } from 'vitest'
import { artifacts, carriedBy, demo, reason, restartServer, showTime } from './browser/demo.ts'

/** A client climbs 15 s after it came down, and later each time that it fails. */
const climbMs = 90_000

describe('a network that blocks', () => {
  it('is known to the proxy before the first connection is made', async () => {
    await carriedBy('WebSocket')
    const paths = demo.requests.map(({ path }) => path)
    expect(paths.indexOf('/demo/network')).toBeGreaterThan(-1)
    expect(paths.indexOf('/demo/network')).toBeLessThan(paths.findIndex((path) => path.startsWith('/api/orders')))
  })

  const block = (what: 'websocket' | 'sse' | 'all', isBlocked: boolean): Promise<void> =>
    demo.page.locator(`[data-testid="block-${what}"]`).setChecked(isBlocked)

  it('is carried around: to SSE, to long polls, to the endpoint itself, and back up again', async () => {
    await carriedBy('WebSocket')
    await block('websocket', true)
    await carriedBy('Server-Sent Events')
    expect(await reason()).toContain('WebSocket is blocked')
    expect(await showTime(1)).toBeLessThan(4_000)

    await block('sse', true)
    await carriedBy('Long poll')
    expect(await reason()).toMatch(/SSE is blocked/)
    expect(await showTime(1)).toBeLessThan(4_000)
    await demo.page.screenshot({ path: `${artifacts}demo-longpoll.png`, fullPage: true })

    await block('all', true)
    await carriedBy('Its own endpoint')
    expect(await reason()).toContain('because')
    await showTime(1)
    await demo.page.screenshot({ path: `${artifacts}demo-endpoint.png`, fullPage: true })

    for (const what of ['all', 'sse', 'websocket'] as const) await block(what, false)
    await carriedBy('WebSocket', climbMs)
    expect(await reason()).toBe('')
    expect(await showTime(1)).toBeLessThan(4_000)
    expect(await demo.isSameDocument()).toBe(true)
  }, 240_000)
})

describe('a server that starts again', () => {
  it('has forgotten what the network blocks, and the boxes say so', async () => {
    const box = demo.page.locator('[data-testid="block-websocket"]')
    await carriedBy('WebSocket')
    await box.setChecked(true)
    await carriedBy('Server-Sent Events')
    // It stays as the visitor set it while the server knows of it.
    await demo.page.waitForResponse(
      (answer) => answer.url().endsWith('/demo/network') && answer.request().method() === 'GET',
    )
    expect(await box.isChecked()).toBe(true)
    await restartServer()
    await expect.poll(() => box.isChecked(), { timeout: 15_000 }).toBe(false)
    await carriedBy('WebSocket', climbMs)
    expect(await demo.isSameDocument()).toBe(true)
  }, 180_000)
})
