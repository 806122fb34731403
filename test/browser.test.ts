import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { buildPage } from '../apps/demo/src/page.ts'
import { startProduct, type Product } from '../apps/demo/test/product.ts'
import { openBrowser, openDemoPage, type DemoPage } from './browser/open-page.ts'

const artifacts = fileURLToPath(new URL('.artifacts/', import.meta.url))
/** A client climbs 15 s after it came down, and later each time that it fails. */
const climbMs = 90_000

let browser: Browser
let product: Product
let demo: DemoPage

beforeAll(async () => {
  mkdirSync(artifacts, { recursive: true })
  browser = await openBrowser()
  product = await startProduct(undefined, await buildPage())
})
afterAll(async () => {
  await browser?.close()
  await product?.close()
})
beforeEach(async () => {
  for (const { feature } of product.app.crossfade.rollout.all()) setStage(feature, 'push')
  demo = await openDemoPage(browser, product.origin)
})
afterEach(() => demo.context.close())

function setStage(feature: string, stage: 'off' | 'shadow' | 'hint' | 'push'): void {
  product.app.crossfade.rollout.set(feature, { stage, percent: 100, rest: 'off' })
}

/** Changes an order as `psql` would. @returns its version. */
async function touch(id: number): Promise<number> {
  const [row] = await product.database.query<{ version: number }>(
    `UPDATE orders SET version = version + 1, updated_at = now() WHERE id = $1 RETURNING version`,
    [id],
  )
  return row?.version ?? 0
}

/** Changes an order and waits until the page shows it. @returns how long that took, ms. */
async function showTime(id: number, side: 'poll' | 'push' = 'push'): Promise<number> {
  const version = await touch(id)
  const from = Date.now()
  await demo.order(side, id, version).waitFor()
  return Date.now() - from
}

async function carriedBy(transport: string, withinMs = 45_000): Promise<void> {
  const shown = demo.page.locator('[data-testid="transport"]')
  await expect.poll(() => shown.innerText(), { timeout: withinMs }).toBe(transport)
}

const reason = (): Promise<string> => demo.page.locator('[data-testid="reason"]').innerText()

describe('the page', () => {
  it('shows what plain SQL writes within 1 s on the right, and with the next poll on the left', async () => {
    await carriedBy('WebSocket')
    const times: number[] = []
    for (let i = 0; i < 5; i++) times.push(await showTime(1))
    expect(times.toSorted((a, b) => a - b)[2]).toBeLessThan(1_000)
    // Its next poll is as far away as it can be.
    await showTime(1, 'poll')
    const version = await touch(1)
    await demo.order('push', 1, version).waitFor()
    expect(await demo.order('poll', 1, version).count()).toBe(0)
    await demo.order('poll', 1, version).waitFor()
    expect(demo.errors).toEqual([])
  })

  it('shows rows that come and go, messages, prices and notifications', async () => {
    const { database } = product
    const right = demo.page.locator('[data-side="push"]')
    await carriedBy('WebSocket')
    const [row] = await database.query<{ id: number }>(
      `INSERT INTO orders (item, quantity) VALUES ('<i>Not markup</i>', 1) RETURNING id`,
    )
    await demo.order('push', row?.id ?? 0).waitFor()
    expect(await demo.order('push', row?.id ?? 0).innerText()).toContain('<i>Not markup</i>')
    await database.query('DELETE FROM orders WHERE id = $1', [row?.id])
    await demo.order('push', row?.id ?? 0).waitFor({ state: 'detached' })
    await database.query(`INSERT INTO messages (room, author, text) VALUES ('general', 'SQL', 'Said by hand')`)
    await right.getByText('Said by hand').waitFor()
    await database.query(`UPDATE prices SET price = 4321.5 WHERE symbol = 'ACME'`)
    await right.getByText('4321.50').waitFor()
    await database.query(`INSERT INTO notifications (user_id, text) SELECT id, 'Rung by hand' FROM users`)
    await right.getByText('Rung by hand').waitFor()
    expect(await right.locator('.badge').innerText()).toBe('1')
    expect(demo.errors).toEqual([])
  })

  it('shows a dash for what has no number, time or text, and goes on', async () => {
    const { database } = product
    const price = (side: string, symbol: string) =>
      demo.page.locator(`[data-side="${side}"] [data-testid="price-${symbol}"] span:last-child`)
    await carriedBy('WebSocket')
    try {
      await database.query(`UPDATE prices SET price = 'NaN' WHERE symbol = 'ACME'`)
      await database.query(`UPDATE prices SET price = '-Infinity' WHERE symbol = 'INITECH'`)
      await database.query(
        `UPDATE orders SET status = ' ', updated_at = 'infinity', version = version + 1 WHERE id = 1`,
      )
      await database.query(`UPDATE prices SET price = 47.11 WHERE symbol = 'GLOBEX'`)
      for (const side of ['push', 'poll']) {
        await expect.poll(() => price(side, 'GLOBEX').innerText(), { timeout: 10_000 }).toBe('47.11')
        for (const symbol of ['ACME', 'INITECH']) expect(await price(side, symbol).innerText()).toBe('–')
        await demo.page.locator(`[data-side="${side}"] .order small`, { hasText: /, –$/ }).waitFor()
        expect(await demo.page.locator(`[data-side="${side}"] .order .status`).innerText()).toBe('–')
      }
    } finally {
      await database.query(`UPDATE prices SET price = 20 WHERE symbol IN ('ACME', 'INITECH')`)
      await database.query(`UPDATE orders SET status = 'new', updated_at = now(), version = version + 1 WHERE id = 1`)
    }
    for (const side of ['push', 'poll'])
      await expect.poll(() => price(side, 'ACME').innerText(), { timeout: 10_000 }).toBe('20.00')
    await showTime(1, 'poll')
    expect(demo.errors).toEqual([])
  })

  it('says of an opened order that was deleted that it is gone', async () => {
    const { database } = product
    await carriedBy('WebSocket')
    const [row] = await database.query<{ id: number }>(
      `INSERT INTO orders (item, quantity) VALUES ('Soon gone', 1) RETURNING id`,
    )
    await demo
      .order('push', row?.id ?? 0)
      .locator('.link')
      .click()
    const page = (side: string) => demo.page.locator(`[data-side="${side}"] [data-order="${row?.id}"]`)
    for (const side of ['push', 'poll']) await page(side).getByText('Soon gone').waitFor()
    await database.query('DELETE FROM orders WHERE id = $1', [row?.id])
    for (const side of ['push', 'poll'])
      await page(side)
        .locator('.status', { hasText: /^gone$/ })
        .waitFor()
    for (const side of ['push', 'poll']) expect(await page(side).innerText()).not.toContain('Soon gone')
  })

  it('marks a notification as read', async () => {
    const right = demo.page.locator('[data-side="push"]')
    await carriedBy('WebSocket')
    await product.database.query(`INSERT INTO notifications (user_id, text) SELECT id, 'To be read' FROM users`)
    const item = right.locator('.list li', { hasText: 'To be read' })
    await item.getByRole('button', { name: 'Mark as read' }).click()
    await right.locator('.list li.read', { hasText: 'To be read' }).waitFor()
    expect(await item.getByRole('button').count()).toBe(0)
    expect(await right.locator('.badge').innerText()).toBe('0')
    expect(demo.errors).toEqual([])
  })

  it('changes through its own buttons and forms', async () => {
    await demo.order('push', 2).locator('.status').click()
    await demo.page.locator('#say input').fill('From the form')
    await demo.page.locator('#say button').click()
    await demo.page.locator('[data-side="push"]').getByText('From the form').waitFor()
    await demo.page.locator('#order input[name="item"]').fill('From the form too')
    await demo.page.locator('#order button').click()
    await demo.page.locator('[data-side="push"]').getByText('From the form too').waitFor()
    const [order] = await product.database.query<{ version: number }>('SELECT version FROM orders WHERE id = 2')
    await demo.order('push', 2, order?.version).waitFor()
    expect(order?.version).toBeGreaterThan(1)
    expect(demo.errors).toEqual([])
  })

  it('feeds a browser’s own EventSource on a wrapped endpoint (R13)', async () => {
    const seen = demo.page.evaluate(
      () =>
        new Promise<string>((resolve, reject) => {
          const source = new EventSource('/api/orders')
          let isWritten = false
          source.addEventListener('message', ({ data, lastEventId }: MessageEvent<string>) => {
            const message = JSON.parse(data) as { type: string }
            if (message.type !== 'event') return
            if (data.includes('Seen by an EventSource')) {
              source.close()
              resolve(lastEventId)
            } else if (!isWritten) {
              isWritten = true
              const body = JSON.stringify({ item: 'Seen by an EventSource', quantity: 1 })
              const headers = { 'content-type': 'application/json' }
              fetch('/api/orders', { method: 'POST', headers, body }).catch(reject)
            }
          })
        }),
    )
    expect(await seen).not.toBe('')
  })

  it('fits its window at phone and desktop width, light and dark', async () => {
    await carriedBy('WebSocket')
    for (const width of [1280, 390]) {
      for (const colorScheme of ['light', 'dark'] as const) {
        await demo.page.setViewportSize({ width, height: width === 390 ? 844 : 900 })
        await demo.page.emulateMedia({ colorScheme })
        await showTime(1)
        const overflow = await demo.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)
        expect(overflow).toBeLessThanOrEqual(0)
        expect(await overlaps()).toEqual([])
        await demo.page.screenshot({ path: `${artifacts}demo-${width}-${colorScheme}.png`, fullPage: true })
      }
    }
  })
})

describe('the login', () => {
  const notice = () => demo.page.locator('[data-testid="notice"]')

  async function reopen(prepare: (page: Page) => Promise<unknown>): Promise<void> {
    await demo.context.close()
    demo = await openDemoPage(browser, product.origin, prepare)
  }

  it('is tried again until the database is back, and the page says so meanwhile', async () => {
    let said = ''
    let label = ''
    await reopen(async (page) => {
      await page.addInitScript(() => localStorage.setItem('demo-name', 'alice'))
      let tries = 0
      await page.route('**/api/login', async (route) => {
        tries += 1
        if (tries === 3) {
          said = await page.locator('[data-testid="notice"]').innerText()
          label = await page.locator('label[for="name"]').innerText()
        }
        if (tries === 1) return route.abort()
        if (tries === 2) return route.fulfill({ status: 500, json: { title: 'The server failed.' } })
        return route.continue()
      })
    })
    expect(said).toBe('You are not logged in: the server answered 500, The server failed. Trying again …')
    expect(label).toBe('Logging in as')
    expect(await demo.page.locator('label[for="name"]').innerText()).toBe('You are')
    expect(await demo.page.locator('#name').inputValue()).toBe('alice')
    expect(await notice().isHidden()).toBe(true)
    await product.database.query(
      `INSERT INTO notifications (user_id, text) SELECT id, 'Rung for alice' FROM users WHERE name = 'alice'`,
    )
    await demo.page.locator('[data-side="push"]').getByText('Rung for alice').waitFor()
  })

  it.for(['', '   ', 'x'.repeat(61)])('is a guest’s where the browser remembers the name "%s"', async (name) => {
    await reopen((page) =>
      page.addInitScript((remembered) => {
        if (sessionStorage.getItem('set') === null) localStorage.setItem('demo-name', remembered)
        sessionStorage.setItem('set', 'yes')
      }, name),
    )
    expect(await demo.page.locator('#name').inputValue()).toMatch(/^Guest \d{3}$/)
    expect(await demo.page.evaluate(() => localStorage.getItem('demo-name'))).toMatch(/^Guest \d{3}$/)
    expect((await demo.context.request.get(`${product.origin}/api/notifications`)).status()).toBe(200)
  })

  it('with a name that is refused says so, and changes nothing', async () => {
    const name = await demo.page.evaluate(() => localStorage.getItem('demo-name'))
    await demo.page.locator('#name').fill('   ')
    await demo.page.locator('#login button').click()
    await notice().filter({ hasText: 'It was not sent: the server answered 400, The name is empty.' }).waitFor()
    expect(await demo.isSameDocument()).toBe(true)
    expect(await demo.page.evaluate(() => localStorage.getItem('demo-name'))).toBe(name)
  })
})

/** Neighbouring cards of the two halves that lie over each other. */
function overlaps(): Promise<string[]> {
  return demo.page.evaluate(() => {
    const cards = [...document.querySelectorAll('.card, .meter, .network, .faders')]
    const boxes = cards.map((card) => card.getBoundingClientRect())
    const isOver = (a: DOMRect, b: DOMRect): boolean =>
      a.left < b.right - 0.5 && b.left < a.right - 0.5 && a.top < b.bottom - 0.5 && b.top < a.bottom - 0.5
    return boxes.flatMap((box, i) =>
      boxes.slice(i + 1).some((other) => isOver(box, other)) || box.right > window.innerWidth
        ? [cards[i]?.textContent?.slice(0, 20) ?? '']
        : [],
    )
  })
}

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
    product = await product.restart()
    await expect.poll(() => box.isChecked(), { timeout: 15_000 }).toBe(false)
    await carriedBy('WebSocket', climbMs)
    expect(await demo.isSameDocument()).toBe(true)
  }, 180_000)
})

describe('a stage', () => {
  it('at off, sends the requests of the original loop and nothing else', async () => {
    const features = product.app.crossfade.rollout.all().map(({ feature }) => feature)
    for (const feature of features) setStage(feature, 'off')
    await demo.context.close()
    demo = await openDemoPage(browser, product.origin)
    const paths = ['/api/orders', '/api/orders/1', '/api/prices', '/api/notifications', '/api/rooms/general/messages']
    const polls = (path: string) => demo.requests.filter((request) => request.path === path)
    // Two loops, three rounds.
    while (paths.some((path) => polls(path).length < 6)) await demo.page.waitForRequest(/\/api\//)
    const kinds = paths.map((path) => [path, new Set(polls(path).map(({ what }) => what)).size])
    expect(kinds).toEqual(paths.map((path) => [path, 1]))
    const spans = paths.map((path) => (polls(path)[4]?.at ?? 0) - (polls(path)[0]?.at ?? 0))
    expect(Math.min(...spans)).toBeGreaterThan(8_000)
    expect(demo.requests.filter(({ path }) => path.startsWith('/crossfade'))).toEqual([])
    expect(demo.errors).toEqual([])
  }, 90_000)

  it('goes from off through shadow and hint to push and back, with no reload and no missed change', async () => {
    await carriedBy('WebSocket')
    for (const stage of ['off', 'shadow', 'hint', 'push', 'shadow', 'off', 'push'] as const) {
      await demo.setStage('order-board', stage)
      const version = await touch(1)
      await demo.order('push', 1, version).waitFor()
      if (stage !== 'shadow') continue
      await touch(1)
      await demo.page.locator('[data-testid="parity-order-board"]', { hasText: /^[1-9]\d* agree · 0 differ/ }).waitFor()
    }
    expect(await demo.isSameDocument()).toBe(true)
    expect(demo.errors).toEqual([])
  }, 150_000)

  it('counts in shadow what push would have shown of a list that grows, more than it shows', async () => {
    await carriedBy('WebSocket')
    await demo.setStage('chat', 'shadow')
    const counted = demo.page.locator('[data-testid="parity-chat"]', { hasText: /^[1-9]\d* agree · 0 differ$/ })
    await counted.waitFor()
    for (let n = 1; n <= 8; n++) {
      await product.database.query(`INSERT INTO messages (room, author, text) VALUES ('general', 'psql', $1)`, [`${n}`])
    }
    const before = await counted.innerText()
    await expect.poll(() => counted.innerText(), { timeout: 15_000 }).not.toBe(before)
    await demo.page.locator('[data-side="push"] .chat li:last-child', { hasText: '8' }).waitFor()
    expect(demo.errors).toEqual([])
  }, 90_000)

  it('says what each feature does, not only what it is set to', async () => {
    await carriedBy('WebSocket')
    const says = demo.page.locator('[data-testid="parity-order-board"]')
    await expect.poll(() => says.innerText()).toBe('data comes by push')
    product.app.crossfade.rollout.set('order-board', { stage: 'push', percent: 0 })
    await expect.poll(() => says.innerText(), { timeout: 15_000 }).toBe('polls, as before')
    const share = demo.page.locator('[data-testid="share-order-board"]')
    expect(await share.innerText()).toBe('push for 0 %, off for the rest; you: off')
    const here = demo.page.locator('[data-testid="stage-order-board"] [aria-current="true"]')
    expect(await here.innerText()).toBe('off')
    await demo.page.screenshot({ path: `${artifacts}demo-share.png` })
    await demo.setStage('order-board', 'push')
    await expect.poll(() => share.innerText()).toBe('')
    await expect.poll(() => here.innerText()).toBe('push')
  }, 60_000)

  it('is moved for each feature, the page of one order among them', async () => {
    await carriedBy('WebSocket')
    const page = (version: number) =>
      demo.page.locator(`[data-side="push"] [data-testid="order-page"][data-version="${version}"]`)
    for (const stage of ['push', 'off', 'shadow', 'hint'] as const) {
      await demo.setStage('order-page', stage)
      await page(await touch(1)).waitFor()
    }
    await demo.page.locator('[data-side="push"] [data-testid="order-2"] .link').click()
    for (const side of ['poll', 'push']) await demo.page.locator(`[data-side="${side}"] [data-order="2"]`).waitFor()
    expect(demo.errors).toEqual([])
  }, 90_000)

  it('follows within 1 s where there is a connection (R61)', async () => {
    await carriedBy('WebSocket')
    const times: number[] = []
    for (let i = 0; i < 3; i++) {
      times.push(await timeOf('off', boardEnds))
      times.push(await timeOf('push', boardBegins))
    }
    expect(times.toSorted((a, b) => a - b)[3]).toBeLessThan(1_000)
    await showTime(1)

    /** What the next subscription to the board, or its end, looks like on the wire. */
    function boardBegins(from: number): boolean {
      return demo.sent.slice(from).some(({ type, topic }) => type === 'subscribe' && topic === 'orders')
    }
    function boardEnds(from: number): boolean {
      const ids = new Set(demo.sent.filter(({ topic }) => topic === 'orders').map(({ id }) => id))
      return demo.sent.slice(from).some(({ type, id }) => type === 'unsubscribe' && ids.has(id))
    }
    async function timeOf(stage: string, isSo: (from: number) => boolean): Promise<number> {
      const [at, from] = [Date.now(), demo.sent.length]
      await demo.setStage('order-board', stage)
      await expect.poll(() => isSo(from), { timeout: 20_000, interval: 20 }).toBe(true)
      return Date.now() - at
    }
  }, 90_000)
})
