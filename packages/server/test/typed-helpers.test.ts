import { changes, deletes, inserts, rewrites } from '@crossfade/changefeed/drizzle'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import Fastify from 'fastify'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { routeDefinition } from '../src/endpoints/definition.ts'
import crossfade, { log, value, type PatternParams, type RouteOptions } from '../src/index.ts'
import { rule } from './rule.ts'

const orders = pgTable('orders', { id: integer().notNull(), org: text().notNull(), room: text().notNull() })

/** What the server says of a block at start. */
const atStart = (url: string, block: RouteOptions) => () => routeDefinition(url, block)

describe('value()', () => {
  it('is the block that is written by hand', () => {
    const on = [changes(orders, (row) => ({ id: row.id })), rule('shops')] as const
    expect(value('orders/:id', { audience: 'public', feature: 'order-page', on, maxRate: 5 })).toEqual({
      topic: 'orders/:id',
      audience: 'public',
      feature: 'order-page',
      on,
      maxRate: 5,
    })
    expect(value('orders')).toEqual({ topic: 'orders' })
  })

  it('takes rules whose parameters the pattern has', () => {
    const block = value('orgs/:org/orders/:id', {
      on: [
        changes(orders, (row) => ({ org: row.org, id: row.id })),
        // Fewer: every order of the organisation loads again.
        changes(orders, (row) => ({ org: row.org })),
        deletes(orders),
        rule('shops', { params: (row) => ({ id: String(row['id']) }) }),
      ],
    })
    expect(atStart('/orgs/:org/orders/:id', block)).not.toThrow()
  })

  it('refuses a rule of other parameters, as the server does at start', () => {
    const renamed = value('orgs/:org/orders', {
      on: [
        changes(orders, (row) => ({ org: row.org })),
        // @ts-expect-error The pattern says :org.
        changes(orders, (row) => ({ Org: row.org })),
      ],
    })
    expect(atStart('/orgs/:org/orders', renamed)).toThrow(/"Org"/)
    const more = value('orders/:id', {
      on: [
        // @ts-expect-error The topic has no :room.
        inserts(orders, (row) => ({ id: row.id, room: row.room })),
      ],
    })
    expect(atStart('/orders/:id', more)).toThrow(/"room"/)
    const any = value('orders', {
      on: [
        // @ts-expect-error The topic has no parameters.
        changes(orders, (row) => ({ id: row.id })),
      ],
    })
    expect(atStart('/orders', any)).toThrow(/"id"/)
    const table = value('orders', {
      // @ts-expect-error A table is not a rule.
      on: [orders],
    })
    expect(atStart('/orders', table)).toThrow(/not a rule/)
  })

  it('refuses params of other names', () => {
    const declared = [
      value('orgs/:org/orders/:id', { params: (request) => ({ org: String(request.headers['x-org']) }) }),
      value('orgs/:org/orders', {
        // @ts-expect-error The pattern says :org.
        params: () => ({ Org: 'a' }),
      }),
      value('orgs/:org/orders', {
        // @ts-expect-error The topic has no :id.
        params: () => ({ org: 'a', id: 1 }),
      }),
      value('orgs/:org/orders', {
        // @ts-expect-error A parameter is text or a number.
        params: () => ({ org: null }),
      }),
    ]
    for (const { params } of declared) expect(params).toBeTypeOf('function')
  })

  it('refuses keys that it does not know, and those of a log, as the server does at start', () => {
    // @ts-expect-error It is audience.
    expect(atStart('/orders', value('orders', { audiance: 'public' }))).toThrow(/audience/)
    // @ts-expect-error Each page is a separate value.
    expect(atStart('/orders', value('orders', { paging: ['after'] }))).toThrow(/page/)
    // @ts-expect-error There is no such audience.
    expect(atStart('/orders', value('orders', { audience: 'Public' }))).toThrow(/"public"/)
  })
})

describe('log()', () => {
  it('is the block that is written by hand', () => {
    const on = [inserts(orders, (row) => ({ room: row.room }))] as const
    expect(log('rooms/:room/orders', { key: 'id', paging: ['after'], on })).toEqual({
      log: 'rooms/:room/orders',
      key: 'id',
      paging: ['after'],
      on,
    })
  })

  it('refuses a rule without all parameters, as its events would belong to no topic', () => {
    const block = log('rooms/:room/orders', {
      key: 'id',
      on: [
        // @ts-expect-error The log needs :room.
        inserts(orders),
        // @ts-expect-error It needs it for a rewritten list, too.
        rewrites(orders, () => ({})),
        // @ts-expect-error The pattern says :room.
        inserts(orders, (row) => ({ rom: row.room })),
        inserts(orders, (row) => ({ room: row.room }), { data: (row) => ({ id: row.id }) }),
      ],
    })
    expect(atStart('/rooms/:room/orders', block)).toThrow(/has 4 mistakes/)
  })

  it('needs its key', () => {
    // @ts-expect-error A log needs the field that identifies an item.
    expect(atStart('/rooms/:room', log('rooms/:room', {}))).toThrow(/needs key/)
    // @ts-expect-error maxRate is for values.
    expect(atStart('/rooms/:room', log('rooms/:room', { key: 'id', maxRate: 5 }))).toThrow(/maxRate/)
  })
})

it('the parameters of a pattern are read from its text', () => {
  expectTypeOf<PatternParams<'orgs/:org/orders/:id'>>().toEqualTypeOf<'org' | 'id'>()
  expectTypeOf<PatternParams<':a'>>().toEqualTypeOf<'a'>()
  expectTypeOf<PatternParams<'orders'>>().toEqualTypeOf<never>()
  expectTypeOf<PatternParams<string>>().toEqualTypeOf<string>()
})

it('a route takes both, and the server checks what the compiler could not', async () => {
  const app = Fastify()
  await app.register(crossfade)
  const handler = (): Promise<object> => Promise.resolve({})
  const on = [changes(orders, (row) => ({ id: row.id }))] as const
  app.get('/orders/:id', { config: { crossfade: value('orders/:id', { audience: 'public', on }) } }, handler)
  app.get('/rooms/:room', { config: { crossfade: log('rooms/:room', { key: 'id' }) } }, handler)
  const late = value('late/:id', {
    audience: 'public',
    on: [rule('late', { params: (row) => ({ Id: String(row['id']) }) })],
  })
  expect(() => app.get('/late/:id', { config: { crossfade: late } }, handler)).toThrow(/gives the parameter "Id"/)
  await app.ready()
  expect((await app.inject('/orders/7')).headers['crossfade']).toContain('topic="orders/7"')
  await app.close()
})
