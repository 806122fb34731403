import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Logger } from '@nestjs/common'
import type { NestFastifyApplication } from '@nestjs/platform-fastify'
import type { FastifyInstance } from 'fastify'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { freshDatabase, type TestDatabase } from './database.ts'
import { writeExamples, type Examples } from './documents/examples.ts'
import { followed, followOrder } from './documents/follow-order.ts'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

describe('"Does it fit my stack?" of README.md', () => {
  let examples: Examples
  let database: TestDatabase
  const open: (() => unknown)[] = []
  const load = <T>(file: string): Promise<T> => import(/* @vite-ignore */ join(examples.folder, file)) as Promise<T>

  beforeAll(async () => {
    Logger.overrideLogger(false)
    database = await freshDatabase()
    await database.query(`CREATE TABLE orders (id integer PRIMARY KEY, status text NOT NULL)`)
    await database.query(`INSERT INTO orders VALUES (42, 'new')`)
    vi.stubEnv('DATABASE_URL', database.url)
    examples = await writeExamples('stacks', readme)
  })

  afterEach(async () => {
    for (const close of open.splice(0)) await close()
  })

  afterAll(async () => {
    vi.unstubAllEnvs()
    await examples?.remove()
    await database?.drop()
  })

  const inMemory = async (status: string): Promise<void> => {
    const { setStatus } = await load<typeof import('./documents/fixture/product.ts')>('product.ts')
    await setStatus(status)
  }
  const inDatabase = (status: string): Promise<unknown> =>
    database.query(`UPDATE orders SET status = $1 WHERE id = 42`, [status])

  test('NestJS on Fastify', async () => {
    const { app } = await load<{ app: NestFastifyApplication }>('nest.ts')
    open.push(() => app.close())
    await app.init()
    const { header, ...rest } = await followOrder(app.getHttpAdapter().getInstance(), inMemory)
    expect(rest).toMatchObject({ values: followed.values, transport: followed.transport })
    expect(header).toMatch(followed.header)
  })

  test('Express behind a Fastify route, and its other routes as they were', async () => {
    const { app } = await load<{ app: FastifyInstance }>('front.ts')
    const { closeExpress } = await load<typeof import('./documents/fixture/express-product.ts')>('express-product.ts')
    open.push(() => app.close(), closeExpress)
    const { origin, header, ...rest } = await followOrder(app, inMemory)
    expect(rest).toMatchObject({ values: followed.values, transport: followed.transport })
    expect(header).toMatch(followed.header)
    const echo = await fetch(`${origin}/api/echo`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"said":1}',
    })
    expect(await echo.json()).toEqual({ said: 1 })
    const socket = new WebSocket(`${origin.replace('http', 'ws')}/echo`)
    open.push(() => socket.close())
    await once(socket, 'open')
    socket.send('said')
    expect(String((await once(socket, 'message'))[0])).toBe('said')
  })

  test('plain SQL', async () => {
    const { app } = await load<{ app: FastifyInstance }>('sql.ts')
    open.push(() => app.close())
    const { header, ...rest } = await followOrder(app, inDatabase)
    expect(rest).toMatchObject({ values: followed.values, transport: followed.transport })
    expect(header).toMatch(followed.header)
  })

  // With a stand-in for the generated client: `npm run verify -- prisma` has the real one.
  test('Prisma', async () => {
    const { app } = await load<{ app: FastifyInstance }>('with-prisma.ts')
    const { prisma } = await load<typeof import('./documents/fixture/prisma.ts')>('prisma.ts')
    open.push(
      () => app.close(),
      () => prisma.$disconnect(),
    )
    const { header, ...rest } = await followOrder(app, inDatabase)
    expect(rest).toMatchObject({ values: followed.values, transport: followed.transport })
    expect(header).toMatch(followed.header)
  })
})
