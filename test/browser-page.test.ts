import { describe, expect, it } from 'vitest'
import { artifacts, carriedBy, demo, product, showTime, touch } from './browser/demo.ts'

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
