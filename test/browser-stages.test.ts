import { describe, expect, it } from 'vitest'
import { artifacts, carriedBy, demo, product, reopen, setStage, showTime, touch } from './browser/demo.ts'

describe('a stage', () => {
  it('at off, sends the requests of the original loop and nothing else', async () => {
    const features = product.app.crossfade.rollout.all().map(({ feature }) => feature)
    for (const feature of features) setStage(feature, 'off')
    await reopen()
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
