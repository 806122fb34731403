import chromium from '@sparticuz/chromium'
import { chromium as playwright, type Browser, type BrowserContext, type Locator, type Page } from 'playwright-core'

/** The Chromium that comes inside an npm package. */
export async function openBrowser(): Promise<Browser> {
  return playwright.launch({
    executablePath: await chromium.executablePath(),
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-dev-shm-usage'],
  })
}

/** The demo's page in a browser profile of its own. */
export interface DemoPage {
  readonly context: BrowserContext
  readonly page: Page
  /** What went wrong in it: exceptions, and what the console calls an error. */
  readonly errors: string[]
  /** Every request that it sent, in order. */
  readonly requests: { readonly at: number; readonly what: string; readonly path: string }[]
  /** Every message that it sent over a WebSocket, in order. */
  readonly sent: { readonly type: string; readonly id?: string; readonly topic?: string }[]
  /** An order's row on one side. */
  order(side: 'poll' | 'push', id: number, version?: number): Locator
  /** Moves a feature's fader. */
  setStage(feature: string, stage: string): Promise<void>
  /** Whether it is still the same document. */
  isSameDocument(): Promise<boolean>
}

/** Opens the demo's page and waits until the board is shown. @param prepare what a test does to the page before it is loaded. */
export async function openDemoPage(
  browser: Browser,
  origin: string,
  prepare: (page: Page) => Promise<unknown> = async () => {},
): Promise<DemoPage> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } })
  const page = await context.newPage()
  await prepare(page)
  page.setDefaultTimeout(45_000)
  const errors: string[] = []
  const requests: { at: number; what: string; path: string }[] = []
  const sent: { type: string; id?: string; topic?: string }[] = []
  page.on('pageerror', (error) => errors.push(String(error)))
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text())
  })
  page.on('request', (request) => {
    const what = JSON.stringify([request.method(), request.headers(), request.postData()])
    requests.push({ at: Date.now(), what, path: new URL(request.url()).pathname })
  })
  page.on('websocket', (socket) => {
    requests.push({ at: Date.now(), what: 'websocket', path: new URL(socket.url()).pathname })
    socket.on('framesent', ({ payload }) => {
      for (const line of String(payload).split('\n')) sent.push(JSON.parse(line) as (typeof sent)[number])
    })
  })
  await page.goto(origin)
  await page.evaluate(() => Object.assign(window, { isFirstDocument: true }))
  await page.locator('[data-side="push"] .board tr').first().waitFor()
  return {
    context,
    page,
    errors,
    requests,
    sent,
    order: (side, id, version) =>
      page.locator(
        `[data-side="${side}"] [data-testid="order-${id}"]${version === undefined ? '' : `[data-version="${version}"]`}`,
      ),
    setStage: async (feature, stage) => {
      await page.locator(`[data-testid="stage-${feature}"] button[value="${stage}"]`).click()
    },
    isSameDocument: () => page.evaluate(() => 'isFirstDocument' in window),
  }
}
