import { describe, expect, it } from 'vitest'
import { demo, product, reopen } from './browser/demo.ts'

describe('the login', () => {
  const notice = () => demo.page.locator('[data-testid="notice"]')

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
