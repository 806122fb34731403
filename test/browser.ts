import chromium from '@sparticuz/chromium'
import { buildPage } from '../apps/demo/src/page.ts'

/** Unpacks Chromium and builds the demo's page, once: the test files that need them run at the same time. */
export default async function setUpBrowser(): Promise<void> {
  await chromium.executablePath()
  await buildPage()
}
