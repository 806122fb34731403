import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest'
import { buildPage } from '../../apps/demo/src/page.ts'
import { startProduct, type Product } from '../../apps/demo/test/product.ts'
import { openBrowser, openDemoPage, type DemoPage } from './open-page.ts'

// A test file that imports this one gets a browser and the demo, and for each of its tests a page in a profile of its own.

/** Where screenshots go. */
export const artifacts: string = fileURLToPath(new URL('../.artifacts/', import.meta.url))

let browser: Browser
/** The demo's server. */
export let product: Product
/** The page of the test that runs. */
export let demo: DemoPage

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

/** Opens the page anew, in another profile. @param prepare what is done to it before it is loaded. */
export async function reopen(prepare?: (page: Page) => Promise<unknown>): Promise<void> {
  await demo.context.close()
  demo = await openDemoPage(browser, product.origin, prepare)
}

/** Ends the demo's server and starts it again, on the same database and port. */
export async function restartServer(): Promise<void> {
  product = await product.restart()
}

/** Sets a stage on the server. */
export function setStage(feature: string, stage: 'off' | 'shadow' | 'hint' | 'push'): void {
  product.app.crossfade.rollout.set(feature, { stage, percent: 100, rest: 'off' })
}

/** Changes an order as `psql` would. @returns its version. */
export async function touch(id: number): Promise<number> {
  const [row] = await product.database.query<{ version: number }>(
    `UPDATE orders SET version = version + 1, updated_at = now() WHERE id = $1 RETURNING version`,
    [id],
  )
  return row?.version ?? 0
}

/** Changes an order and waits until the page shows it. @returns how long that took, ms. */
export async function showTime(id: number, side: 'poll' | 'push' = 'push'): Promise<number> {
  const version = await touch(id)
  const from = Date.now()
  await demo.order(side, id, version).waitFor()
  return Date.now() - from
}

/** Waits until the page says that a transport carries. */
export async function carriedBy(transport: string, withinMs = 45_000): Promise<void> {
  const shown = demo.page.locator('[data-testid="transport"]')
  await expect.poll(() => shown.innerText(), { timeout: withinMs }).toBe(transport)
}

/** Why the transport is no better one. */
export const reason = (): Promise<string> => demo.page.locator('[data-testid="reason"]').innerText()
