import chromium from '@sparticuz/chromium'
import { chromium as playwright, type Browser, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { buildApp } from '../apps/demo/src/app.ts'
import { buildPage } from '../apps/demo/src/page.ts'
import { freshDatabase, type TestDatabase } from './database.ts'

let database: TestDatabase
let browser: Browser
let origin: string
let close: () => Promise<void>
let page: Page

beforeAll(async () => {
  database = await freshDatabase()
  const { app } = await buildApp({
    databaseUrl: database.url,
    simulate: false,
    slot: `browser_${new URL(database.url).pathname.slice(6)}`,
    pageFolder: await buildPage(),
  })
  origin = await app.listen({ host: '127.0.0.1', port: 0 })
  browser = await playwright.launch({
    executablePath: await chromium.executablePath(),
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-dev-shm-usage'],
  })
  close = () => app.close()
}, 90_000)

afterAll(async () => {
  await browser.close()
  await close()
  await database.drop()
})

beforeEach(async () => {
  page = await (await browser.newContext({ viewport: { width: 1280, height: 900 } })).newPage()
  await page.goto(origin)
  await page.waitForSelector('[data-side="push"] [data-testid="order-1"]')
})

afterEach(() => page.context().close())

/** Changes order 1 as any program would, and waits until the side shows it. */
async function change(side: 'poll' | 'push', timeout = 20_000): Promise<void> {
  const rows = await database.query<{ version: number }>(
    'UPDATE orders SET version = version + 1, updated_at = now() WHERE id = 1 RETURNING version',
  )
  await page.waitForSelector(`[data-side="${side}"] [data-testid="order-1"][data-version="${rows[0]?.version}"]`, {
    timeout,
  })
}

async function text(testId: string): Promise<string> {
  return (await page.textContent(`[data-testid="${testId}"]`)) ?? ''
}

async function setStage(feature: string, stage: string): Promise<void> {
  await page.click(`[data-testid="stage-${feature}"] button[value="${stage}"]`)
  await page.waitForSelector(`[data-testid="stage-${feature}"] button[value="${stage}"][aria-pressed="true"]`)
}

describe('the demo in a real browser', () => {
  it('shows a write from outside on both sides, pushed and polled', async () => {
    await expect.poll(() => text('transport')).toBe('WebSocket')
    // Five seconds are the polling side's interval: push does not wait for it.
    await change('push', 4_000)
    await change('poll')
  })

  it('carries on, and says how and why, when the network blocks more and more, and climbs back (F1, F5, F25)', async () => {
    await expect.poll(() => text('transport')).toBe('WebSocket')
    await page.click('[data-testid="block-websocket"]')
    await expect.poll(() => text('transport'), { timeout: 20_000 }).toBe('Server-Sent Events')
    expect(await text('reason')).toContain('WebSocket is blocked')
    await change('push')
    await page.click('[data-testid="block-sse"]')
    await expect.poll(() => text('transport'), { timeout: 30_000 }).toBe('Long poll')
    expect(await text('reason')).toContain('event streams are')
    await change('push')
    await page.click('[data-testid="block-all"]')
    await expect.poll(() => text('transport'), { timeout: 30_000 }).toBe('Its own endpoint')
    await change('push')
    for (const block of ['block-all', 'block-sse', 'block-websocket']) await page.click(`[data-testid="${block}"]`)
    await expect.poll(() => text('transport'), { timeout: 150_000 }).toBe('WebSocket')
    await change('push', 4_000)
  }, 300_000)

  it('follows the fader from push through off and shadow and back, without a reload or a missed change (R61)', async () => {
    await page.evaluate(() => Object.assign(globalThis, { sameDocument: true }))
    await setStage('order-board', 'off')
    await change('push')
    await setStage('order-board', 'shadow')
    await change('push')
    await expect.poll(() => text('parity-order-board'), { timeout: 60_000 }).toMatch(/[1-9]\d* agree · 0 differ/)
    await setStage('order-board', 'hint')
    await change('push')
    await setStage('order-board', 'push')
    await change('push')
    expect(await page.evaluate(() => (globalThis as { sameDocument?: boolean }).sameDocument)).toBe(true)
  }, 180_000)

  it("feeds a browser's own EventSource on the wrapped endpoint (R13)", async () => {
    const events = page.evaluate(async () => {
      const source = new EventSource('/api/orders')
      const seen: string[] = []
      await new Promise<void>((resolve) => {
        source.addEventListener('message', ({ data }: MessageEvent<string>) => {
          const message = JSON.parse(data) as { type: string; event?: string }
          if (message.type !== 'event') return
          seen.push(message.event ?? '')
          document.title = `seen ${seen.length}`
          if (seen.length === 2) resolve()
        })
      })
      source.close()
      return seen
    })
    await expect.poll(() => page.title()).toBe('seen 1')
    await change('push')
    expect((await events)[0]).toBe('snapshot')
  })
})
