import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { withoutPassword } from '../src/database-url.ts'
import { startProduct } from './product.ts'

it.for([
  ['postgres://u:secret@db.example.com:5433/shop', 'postgres://u@db.example.com:5433/shop'],
  ['postgresql://u:s%40cret@127.0.0.1/shop?password=secret&sslmode=require', 'postgresql://u@127.0.0.1/shop'],
  ['postgres://:secret@127.0.0.1:5432/shop', 'postgres://127.0.0.1:5432/shop'],
  ['postgres://[::1]:5432/shop', 'postgres://[::1]:5432/shop'],
  ['socket://u:secret@/tmp?db=shop', null],
  ['host=db password=secret', null],
] as const)('shows %s without the password', ([url, shown]) => {
  expect(withoutPassword(url)).toBe(shown)
})

it('tells a visitor where a given database is, not its password', async () => {
  const product = await startProduct(undefined, fileURLToPath(new URL('../page', import.meta.url)))
  try {
    const told = await (await fetch(`${product.origin}/demo/info`)).text()
    const { username, password, host, pathname } = new URL(product.database.url)
    expect(JSON.parse(told)).toEqual({ databaseUrl: `postgres://${username}@${host}${pathname}` })
    expect(password).not.toBe('')
    expect(told).not.toContain(`:${password}@`)
  } finally {
    await product.close()
  }
})
