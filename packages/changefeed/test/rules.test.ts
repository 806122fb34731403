import {
  bigint,
  boolean,
  char,
  customType,
  date,
  doublePrecision,
  integer,
  jsonb,
  numeric,
  pgEnum,
  pgSchema,
  pgTable,
  text,
  timestamp,
  uuid,
  varchar,
} from 'drizzle-orm/pg-core'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { changes, deletes, inserts, rewrites, updates } from '../src/drizzle.ts'
import { canonicalId, touched, unsent, type ChangeRule, type RowChange } from '../src/index.ts'

const upper = customType<{ data: string; driverData: string }>({
  dataType: () => 'text',
  fromDriver: (value) => value.toUpperCase(),
})

const orders = pgTable('orders', {
  id: integer().primaryKey(),
  customer: integer('customer_id').notNull(),
  big: bigint({ mode: 'bigint' }),
  safe: bigint({ mode: 'number' }),
  price: numeric(),
  paid: boolean(),
  lines: jsonb().$type<{ item: string }[]>(),
  tags: text().array(),
  counts: bigint({ mode: 'bigint' }).array(),
  updatedAt: timestamp('updated_at', { withTimezone: true }),
  createdAt: timestamp('created_at'),
  changedAt: timestamp('changed_at', { mode: 'string' }),
  shout: upper(),
})

const sent = {
  id: 1,
  customer_id: 7,
  big: '9007199254740993',
  safe: '12',
  price: '1.50',
  paid: true,
  lines: [{ item: 'tea' }],
  tags: ['a', null],
  counts: ['1', '2'],
  updated_at: '2026-11-21 05:30:00.123456+02',
  created_at: '2026-11-21 05:30:00',
  changed_at: '2026-11-21 05:30:00',
  shout: 'hey',
}

function change(op: RowChange['op'], before: RowChange['before'], after: RowChange['after']): RowChange {
  return { table: 'public.orders', op, before, after }
}

function missing(): object {
  throw new Error('not before there is a row')
}

describe('a rule', () => {
  it('knows its table, its columns by SQL name, and which of them route', () => {
    const rule = changes(orders, (order) => ({ id: order.id, customer: order.customer }))
    expect(rule.table).toMatchObject({ schema: 'public', name: 'orders', routing: ['id', 'customer_id'] })
    expect(rule.table.columns).toContain('updated_at')
    expect(rule.ops).toEqual(['insert', 'update', 'delete', 'truncate'])
  })

  it('takes the schema of the table, and the casing that drizzle is given', () => {
    const other = pgSchema('shop').table('carts', { cartId: integer().primaryKey(), named: integer('As Is') })
    const rule = changes(other, (cart) => ({ id: cart.cartId }), { casing: 'snake_case' })
    expect(rule.table).toEqual({ schema: 'shop', name: 'carts', columns: ['cart_id', 'As Is'], routing: ['cart_id'] })
    expect(rule.params({ cart_id: 3 })).toEqual({ id: '3' })
  })

  it('needs no old row for inserts', () => {
    expect(inserts(orders, (order) => ({ customer: order.customer })).table.routing).toEqual([])
    expect(updates(orders, (order) => ({ customer: order.customer })).table.routing).toEqual(['customer_id'])
    expect(deletes(orders).ops).toEqual(['delete'])
  })

  it('that says a list is rewritten has no events, and routes by both rows', () => {
    const rule = rewrites(orders, (order) => ({ customer: order.customer }))
    expect('data' in rule).toBe(false)
    expect(rule.ops).toEqual(['update', 'delete', 'truncate'])
    expect(rule.table.routing).toEqual(['customer_id'])
  })

  it('gives topic functions and data the row that Drizzle infers', () => {
    const rule = inserts(
      orders,
      (order) => {
        expectTypeOf(order).toEqualTypeOf<typeof orders.$inferSelect>()
        return { id: order.id }
      },
      { event: 'order', data: (order) => order },
    )
    expect(rule.event).toBe('order')
    expect(rule.data?.(sent)).toEqual({
      id: 1,
      customer: 7,
      big: 9007199254740993n,
      safe: 12,
      price: '1.50',
      paid: true,
      lines: [{ item: 'tea' }],
      tags: ['a', null],
      counts: [1n, 2n],
      updatedAt: new Date('2026-11-21T03:30:00.123Z'),
      createdAt: new Date('2026-11-21T05:30:00Z'),
      changedAt: '2026-11-21 05:30:00',
      shout: 'HEY',
    })
  })

  it('writes each bigint of a row as a string, where nothing else says what the data is', () => {
    const data = inserts(orders).data?.({ ...sent, lines: unsent })
    expect(JSON.parse(JSON.stringify(data))).toEqual({
      id: 1,
      customer: 7,
      big: '9007199254740993',
      safe: 12,
      price: '1.50',
      paid: true,
      tags: ['a', null],
      counts: ['1', '2'],
      updatedAt: '2026-11-21T03:30:00.123Z',
      createdAt: '2026-11-21T05:30:00.000Z',
      changedAt: '2026-11-21 05:30:00',
      shout: 'HEY',
    })
  })

  it('is checked against the columns of the table', () => {
    // @ts-expect-error The table has no such column.
    const rule = changes(orders, (order) => ({ id: order.missing as string }))
    expect(rule.table.routing).toEqual([])
  })

  it('knows the names of the parameters that it gives, whatever the types of the columns that it reads', () => {
    const day = changes(orders, (order) => ({ day: order.changedAt ?? '', at: order.createdAt?.toISOString() ?? '' }))
    expect(day.names).toEqual(['day', 'at'])
    expect(day.table.routing).toEqual(['changed_at', 'created_at'])
    expect(
      changes(orders, (order) => ({ cents: Number(order.price) * 100, lines: order.lines?.length ?? 0 })).names,
    ).toEqual(['cents', 'lines'])
    expect(changes(orders, (order) => ({ big: String((order.big ?? 0n) + 1n) })).names).toEqual(['big'])
    expect(inserts(orders).names).toEqual([])
    expectTypeOf(day).toEqualTypeOf<ChangeRule<'day' | 'at'>>()
    expectTypeOf(day).toExtend<ChangeRule>()
    expectTypeOf(inserts(orders)).toExtend<ChangeRule>()
  })

  it('does not know the names where the function needs a real row', () => {
    const rule = changes(orders, (order) => ({ first: order.lines?.[0]?.item.toUpperCase() ?? '' }))
    expect(rule.names).toEqual(['first'])
    expect(
      'names' in changes(orders, (order) => ({ first: order.tags?.[0]?.toUpperCase() as string, ...missing() })),
    ).toBe(false)
  })

  it.each<[string, unknown, RegExp]>([
    ['nothing', () => {}, /gave undefined. Write \(row\) => \({ id: row.id }\), with the parentheses/],
    ['a promise', async () => ({ id: 1 }), /gave a promise/],
    ['a text', () => 'id', /gave "id"/],
    ['an array', () => ['id'], /gave an array/],
  ])('is refused when its function gives %s', (_what, params, message) => {
    expect(() => changes(orders, params as () => { id: number })).toThrow(message)
  })

  it('touches the topic that a row leaves and the one that it enters', () => {
    const rule = changes(orders, (order) => ({ customer: order.customer }))
    const moved = change('update', sent, { ...sent, customer_id: 8 })
    expect(touched(rule, moved)).toEqual({ before: { customer: '7' }, after: { customer: '8' } })
    expect(touched(rule, change('insert', null, sent))).toEqual({ before: null, after: { customer: '7' } })
    expect(touched(rule, change('delete', sent, null))).toEqual({ before: { customer: '7' }, after: null })
  })

  it('touches every topic where a column that routes was not sent, and by a truncation (C7)', () => {
    const rule = changes(orders, (order) => ({ customer: order.customer }))
    expect(touched(rule, change('delete', { id: 1, customer_id: unsent }, null)).before).toBe('all')
    expect(touched(rule, change('delete', { id: 1 }, null)).before).toBe('all')
    expect(touched(rule, change('truncate', null, null))).toEqual({ before: 'all', after: null })
  })

  it('never turns an unsent value into null or a value', () => {
    expect(inserts(orders, () => ({})).data?.({ ...sent, lines: unsent, updated_at: unsent })).toMatchObject({
      lines: unsent,
      updatedAt: unsent,
    })
  })

  it('lets an error of the topic function through', () => {
    const rule = changes(orders, (order) => ({ first: order.lines?.[0]?.item.toUpperCase() ?? '' }))
    expect(() => rule.params({ ...sent, lines: [{}] })).toThrow(TypeError)
  })

  it('refuses something that is not a Drizzle table', () => {
    expect(() => changes({} as typeof orders)).toThrow('Drizzle table')
  })
})

describe('a rule whose topic has an id that the database compares more loosely than text (C21)', () => {
  const things = pgTable('things', {
    id: integer().primaryKey(),
    code: uuid(),
    big: bigint({ mode: 'bigint' }),
    safe: bigint({ mode: 'number' }),
    fixed: char({ length: 4 }),
    word: customType<{ data: string }>({ dataType: () => 'citext' })(),
    name: varchar({ length: 9 }),
    kind: pgEnum('kind', ['a'])(),
    day: date({ mode: 'string' }),
    at: timestamp(),
    flag: boolean(),
    price: numeric(),
    ratio: doublePrecision(),
  })

  /** The form of a column as the only parameter. */
  const formOf = (column: keyof typeof things.$inferSelect): unknown =>
    changes(things, (row) => ({ id: String(row[column]) })).parameters?.[0]?.form

  it('knows by which column and how', () => {
    expect(changes(things, ({ id, code }) => ({ id, code: code ?? '' })).parameters).toEqual([
      { parameter: 'id', column: 'id', form: { kind: 'integer' } },
      { parameter: 'code', column: 'code', form: { kind: 'uuid' } },
    ])
    expect(formOf('big')).toEqual({ kind: 'integer' })
    expect(formOf('safe')).toEqual({ kind: 'safeInteger' })
    expect(formOf('fixed')).toEqual({ kind: 'padded', length: 4 })
    expect(formOf('word')).toEqual({ kind: 'loose', type: 'citext' })
    expect(formOf('at')).toEqual({ kind: 'loose', type: 'timestamp' })
    expect(formOf('price')).toEqual({ kind: 'loose', type: 'numeric' })
    expect(formOf('ratio')).toEqual({ kind: 'number' })
    expect(formOf('day')).toEqual({ kind: 'date' })
    expect(formOf('flag')).toEqual({ kind: 'boolean' })
  })

  it('says nothing about text, enums, and ids that the rule itself has made canonical', () => {
    expect(formOf('name')).toBeUndefined()
    expect(formOf('kind')).toBeUndefined()
    expect(changes(things, (row) => ({ id: String(row.word).toLowerCase() })).parameters).toEqual([])
    expect(changes(things, (row) => ({ id: `${row.id}-x` })).parameters).toEqual([])
  })

  it.each([
    [{ kind: 'integer' }, '042', '42'],
    [{ kind: 'integer' }, '+42', '42'],
    [{ kind: 'integer' }, ' 42', '42'],
    [{ kind: 'integer' }, '-0', '0'],
    [{ kind: 'integer' }, '9007199254740993', '9007199254740993'],
    [{ kind: 'integer' }, 'latest', 'latest'],
    [{ kind: 'safeInteger' }, '9007199254740993', '9007199254740992'],
    [{ kind: 'number' }, '1.50', '1.5'],
    [{ kind: 'number' }, '', ''],
    [{ kind: 'uuid' }, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
    [{ kind: 'uuid' }, '{a0eebc999c0b4ef8bb6d6bb9bd380a11}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
    [{ kind: 'uuid' }, 'me', 'me'],
    [{ kind: 'boolean' }, 'T', 'true'],
    [{ kind: 'boolean' }, 'off', 'false'],
    [{ kind: 'date' }, '2026-1-5', '2026-01-05'],
    [{ kind: 'date' }, '20260105', '2026-01-05'],
    [{ kind: 'padded', length: 4 }, 'ab', 'ab  '],
    [{ kind: 'loose', type: 'citext' }, 'Ann', null],
  ] as const)('tells the canonical spelling: %o of %j', (form, text, canonical) => {
    expect(canonicalId(form, text)).toBe(canonical)
  })
})
