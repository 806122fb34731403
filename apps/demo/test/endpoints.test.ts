import { parseHeader } from '@crossfade/protocol'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { logIn, openStream, postJson, startProduct, type Product } from './product.ts'

interface Order {
  id: number
  item: string
  quantity: number
  status: string
  version: number
  updatedAt: string
}
interface Message {
  id: number
  author: string
  text: string
  at: string
}
interface Notifications {
  unread: number
  latest: { id: number; text: string; readAt: string | null; createdAt: string }[]
}
interface EventMessage {
  type: string
  event: string
  data: unknown
}

const isTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
let product: Product
/** Mara's headers, and who she is. */
let mara: { authorization: string }
let maraId: number

beforeAll(async () => {
  product = await startProduct()
  const login = await logIn(product.origin, 'Mara')
  mara = login.headers
  maraId = login.id
})
afterAll(() => product.close())

function get(path: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(product.origin + path, { headers })
}

async function read<T>(path: string, headers: Record<string, string> = {}): Promise<T> {
  const answer = await get(path, headers)
  expect(answer.status).toBe(200)
  return (await answer.json()) as T
}

function post(path: string, body: unknown, authorization?: string): Promise<Response> {
  return postJson(product.origin + path, body, authorization)
}

function patch(path: string, body: unknown): Promise<Response> {
  return postJson(product.origin + path, body, undefined, 'PATCH')
}

async function newOrder(item: string): Promise<Order> {
  const answer = await post('/api/orders', { item, quantity: 2 })
  expect(answer.status).toBe(201)
  return (await answer.json()) as Order
}

/** The status of a refusal that says what it is (RFC 9457). */
async function refusal(answer: Response): Promise<number> {
  expect(answer.headers.get('content-type')).toContain('application/problem+json')
  const { status, title } = (await answer.json()) as { status: number; title: string }
  expect(title).not.toBe('')
  expect(status).toBe(answer.status)
  return status
}

describe('login', () => {
  it('answers a token, the user and a cookie', async () => {
    const answer = await post('/api/login', { name: 'Jonas' })
    expect(answer.status).toBe(200)
    expect(await answer.json()).toEqual({
      token: expect.any(String) as string,
      user: { id: expect.any(Number) as number, name: 'Jonas' },
    })
    const cookie = answer.headers.getSetCookie()[0]?.split(';')[0] ?? ''
    expect(await read('/api/notifications', { cookie })).toEqual({ unread: 0, latest: [] })
  })

  it('gives the same name the same user', async () => {
    expect((await logIn(product.origin, ' Mara ')).id).toBe(maraId)
    expect((await logIn(product.origin, 'Ife')).id).not.toBe(maraId)
  })

  it('refuses an invalid name', async () => {
    for (const body of [{}, { name: '' }, { name: '   ' }, { name: 'x'.repeat(61) }, { name: 'a\0b' }, [], 'Mara'])
      expect(await refusal(await post('/api/login', body))).toBe(400)
  })
})

describe('orders', () => {
  it('lists open orders, by id', async () => {
    const first = await newOrder('Cups')
    const second = await newOrder('Tamper')
    await patch(`/api/orders/${first.id}`, { status: 'done' })
    const { orders } = await read<{ orders: Order[] }>('/api/orders')
    expect(orders.map(({ id }) => id)).toEqual(orders.map(({ id }) => id).toSorted((a, b) => a - b))
    expect(orders.some(({ id }) => id === first.id)).toBe(false)
    expect(orders.find(({ id }) => id === second.id)).toEqual({
      id: second.id,
      item: 'Tamper',
      quantity: 2,
      status: 'new',
      version: 1,
      updatedAt: expect.stringMatching(isTime) as string,
    })
  })

  it('grows the version by one on each change, and shows the order that it answered', async () => {
    const order = await newOrder('Grinder')
    expect(order.version).toBe(1)
    for (const [index, status] of ['packing', 'shipped', 'anything at all'].entries()) {
      const answer = await patch(`/api/orders/${order.id}`, { status })
      expect(answer.status).toBe(200)
      const changed = (await answer.json()) as Order
      expect(changed).toMatchObject({ id: order.id, status, version: index + 2 })
      expect(await read(`/api/orders/${order.id}`)).toEqual(changed)
    }
  })

  it('answers 404 to an order that does not exist', async () => {
    expect(await refusal(await get('/api/orders/2147483647'))).toBe(404)
    expect(await refusal(await patch('/api/orders/2147483647', { status: 'new' }))).toBe(404)
  })

  it('refuses ids and bodies that no order can have, with 400', async () => {
    for (const id of ['2147483648', '99999999999999999999', '0', '-1', '1.5', 'abc', '%00']) {
      expect(await refusal(await get(`/api/orders/${id}`))).toBe(400)
      expect(await refusal(await patch(`/api/orders/${id}`, { status: 'new' }))).toBe(400)
    }
    for (const body of [
      {},
      { item: '', quantity: 1 },
      { item: 'Cups' },
      { item: 'Cups', quantity: 0 },
      { item: 'Cups', quantity: 1.5 },
      { item: 'Cups', quantity: 'many' },
      { item: 'Cups', quantity: 3_000_000_000 },
      { item: 'a\0b', quantity: 1 },
    ])
      expect(await refusal(await post('/api/orders', body))).toBe(400)
    expect(await refusal(await patch('/api/orders/1', { status: '' }))).toBe(400)
    expect(await refusal(await patch('/api/orders/1', { status: 'a\0b' }))).toBe(400)
  })

  it('refuses a body that is not JSON', async () => {
    const answer = await fetch(`${product.origin}/api/orders`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"item":',
    })
    expect(await refusal(answer)).toBe(400)
  })

  it('shows rows that plain SQL wrote, updated and removed', async () => {
    const [row] = await product.database.query<{ id: number }>(
      `INSERT INTO orders (item, quantity) VALUES ('By hand', 3) RETURNING id`,
    )
    const id = row?.id ?? 0
    expect(await read(`/api/orders/${id}`)).toMatchObject({ item: 'By hand', status: 'new', version: 1 })
    await product.database.query(`UPDATE orders SET status = 'shipped', version = version + 1 WHERE id = $1`, [id])
    expect(await read(`/api/orders/${id}`)).toMatchObject({ status: 'shipped', version: 2 })
    await product.database.query('DELETE FROM orders WHERE id = $1', [id])
    expect(await refusal(await get(`/api/orders/${id}`))).toBe(404)
  })
})

describe('notifications', () => {
  it('answers the caller’s own only, and counts what is unread', async () => {
    const lin = await logIn(product.origin, 'Lin')
    const rows = await product.database.query<{ id: number }>(
      `INSERT INTO notifications (user_id, text) VALUES ($1, 'one'), ($1, 'two'), ($2, 'not yours') RETURNING id`,
      [lin.id, maraId],
    )
    const mine = await read<Notifications>('/api/notifications', lin.headers)
    expect(mine.unread).toBe(2)
    expect(mine.latest).toEqual(
      ['two', 'one'].map((text) => ({
        id: expect.any(Number) as number,
        text,
        readAt: null,
        createdAt: expect.stringMatching(isTime) as string,
      })),
    )
    const readIt = await post(`/api/notifications/${rows[0]?.id}/read`, {}, lin.headers.authorization)
    expect(readIt.status).toBe(204)
    const after = await read<Notifications>('/api/notifications', lin.headers)
    expect(after.unread).toBe(1)
    expect(after.latest[1]?.readAt).toMatch(isTime)
  })

  it('does not mark another’s notification as read', async () => {
    const [row] = await product.database.query<{ id: number }>(
      `INSERT INTO notifications (user_id, text) VALUES ($1, 'mine') RETURNING id`,
      [maraId],
    )
    const other = await logIn(product.origin, 'Other')
    await post(`/api/notifications/${row?.id}/read`, {}, other.headers.authorization)
    const { latest } = await read<Notifications>('/api/notifications', mara)
    expect(latest.find(({ id }) => id === row?.id)?.readAt).toBeNull()
  })

  it('answers 401 to callers that are not logged in, and 400 to an id out of range', async () => {
    expect(await refusal(await get('/api/notifications'))).toBe(401)
    expect(await refusal(await post('/api/notifications/1/read', {}))).toBe(401)
    expect(await refusal(await post('/api/notifications/99999999999/read', {}, mara.authorization))).toBe(400)
  })

  it('refuses tokens and cookies that are not its own with 401', async () => {
    for (const headers of [
      { authorization: 'Bearer nonsense' },
      { authorization: `${mara.authorization}x` },
      { cookie: 'demo_token=%E0%A4%A' },
      { cookie: 'demo_token=a.b' },
    ] as Record<string, string>[])
      expect(await refusal(await get('/api/notifications', headers))).toBe(401)
  })
})

describe('rooms', () => {
  it('answers 201 with the message, and lists it', async () => {
    const answer = await post('/api/rooms/kitchen/messages', { text: 'Hello <b>all</b> 🎉' }, mara.authorization)
    expect(answer.status).toBe(201)
    const message = (await answer.json()) as Message
    expect(message).toEqual({
      id: expect.any(Number) as number,
      author: 'Mara',
      text: 'Hello <b>all</b> 🎉',
      at: expect.stringMatching(isTime) as string,
    })
    expect(await read('/api/rooms/kitchen/messages', mara)).toEqual({ messages: [message] })
    expect(await read('/api/rooms/elsewhere/messages', mara)).toEqual({ messages: [] })
  })

  it('pages with after and limit, and takes a limit of up to 1000', async () => {
    await product.database.query(
      `INSERT INTO messages (room, author, text) SELECT 'long', 'SQL', 'message ' || i FROM generate_series(1, 1005) AS i`,
    )
    const list = async (query: string): Promise<Message[]> =>
      (await read<{ messages: Message[] }>(`/api/rooms/long/messages?${query}`, mara)).messages
    const newest = await list('limit=1000')
    expect(newest).toHaveLength(1000)
    expect(newest.at(-1)?.text).toBe('message 1005')
    const from = newest[0]?.id ?? 0
    expect((await list(`after=${from}&limit=2`)).map(({ id }) => id)).toEqual([newest[1]?.id, newest[2]?.id])
    expect(await list('after=0&limit=1')).toMatchObject([{ text: 'message 1' }])
    expect(await list(`after=${newest.at(-1)?.id}`)).toEqual([])
    for (const query of ['limit=1001', 'limit=0', 'limit=x', 'after=-1', 'after=99999999999'])
      expect(await refusal(await get(`/api/rooms/long/messages?${query}`, mara))).toBe(400)
  })

  it('refuses callers that are not logged in, and invalid messages', async () => {
    expect(await refusal(await get('/api/rooms/kitchen/messages'))).toBe(401)
    expect(await refusal(await post('/api/rooms/kitchen/messages', { text: 'Hi' }))).toBe(401)
    for (const body of [{}, { text: '' }, { text: 'x'.repeat(4001) }, { text: 'a\0b' }])
      expect(await refusal(await post('/api/rooms/kitchen/messages', body, mara.authorization))).toBe(400)
    expect(await refusal(await get('/api/rooms/a%00b/messages', mara))).toBe(400)
  })
})

describe('prices', () => {
  it('answers a number for each symbol', async () => {
    await product.database.query(`INSERT INTO prices VALUES ('TEST', 1.5)`)
    const { prices } = await read<{ prices: Record<string, number> }>('/api/prices')
    expect(prices['TEST']).toBe(1.5)
    expect(Object.values(prices).every((price) => typeof price === 'number')).toBe(true)
  })
})

describe('each wrapped endpoint', () => {
  const wrapped = (): [path: string, topic: string, feature: string, headers: Record<string, string>][] => [
    ['/api/orders', 'orders', 'order-board', {}],
    ['/api/orders/1', 'orders/1', 'order-page', {}],
    ['/api/notifications', `users/${maraId}/notifications`, 'notifications', mara],
    ['/api/rooms/general/messages', 'rooms/general/messages', 'chat', mara],
    ['/api/prices', 'prices', 'prices', {}],
  ]

  it('shows ETag and Crossfade, and answers 304 to its own ETag (R10, R11)', async () => {
    for (const [path, topic, feature, headers] of wrapped()) {
      const answer = await get(path, headers)
      expect(answer.status).toBe(200)
      const header = parseHeader(answer.headers.get('crossfade'))
      expect(header).toMatchObject({ topic, feature, stage: 'push', base: '/crossfade' })
      const etag = answer.headers.get('etag') ?? ''
      expect(etag).toBe(`W/"${header?.hash}"`)
      const again = await get(path, { ...headers, 'if-none-match': etag })
      expect(again.status).toBe(304)
      expect(await again.text()).toBe('')
    }
  })

  it('releases a held answer when plain SQL writes (R12)', async () => {
    const etag = (await get('/api/orders')).headers.get('etag') ?? ''
    const held = get('/api/orders', { 'if-none-match': etag, prefer: 'wait=20' })
    await product.database.query(`INSERT INTO orders (item, quantity) VALUES ('Held', 1)`)
    const answer = await held
    expect(answer.status).toBe(200)
    expect(answer.headers.get('preference-applied')).toBe('wait=20')
    expect(((await answer.json()) as { orders: Order[] }).orders.at(-1)?.item).toBe('Held')
  })

  it('holds an answer until the seconds asked for have passed, then says 304 (R12)', async () => {
    const etag = (await get('/api/orders/1')).headers.get('etag') ?? ''
    const answer = await get('/api/orders/1', { 'if-none-match': etag, prefer: 'wait=1' })
    expect(answer.status).toBe(304)
    expect(answer.headers.get('preference-applied')).toBe('wait=1')
  })

  it('streams what plain SQL writes (R13)', async () => {
    const stream = await openStream(`${product.origin}/api/orders/1`)
    expect(stream.answer.headers['content-type']).toContain('text/event-stream')
    await stream.next<EventMessage>(({ type }) => type === 'event')
    await product.database.query(`UPDATE orders SET status = 'streamed', version = version + 1 WHERE id = 1`)
    const event = await stream.next<EventMessage>(
      ({ type, data }) => type === 'event' && JSON.stringify(data).includes('streamed'),
    )
    expect(event.event).toMatch(/^(patch|snapshot)$/)
    stream.close()
  })

  it('tells a notification that moves to another user to both of them', async () => {
    const from = await logIn(product.origin, 'From')
    const to = await logIn(product.origin, 'To')
    const [row] = await product.database.query<{ id: number }>(
      `INSERT INTO notifications (user_id, text) VALUES ($1, 'moves') RETURNING id`,
      [from.id],
    )
    const held: Promise<Notifications>[] = []
    for (const { headers } of [from, to]) {
      const etag = (await get('/api/notifications', headers)).headers.get('etag') ?? ''
      held.push(read('/api/notifications', { ...headers, 'if-none-match': etag, prefer: 'wait=20' }))
    }
    await product.database.query('UPDATE notifications SET user_id = $2 WHERE id = $1', [row?.id, to.id])
    expect((await Promise.all(held)).map(({ unread }) => unread)).toEqual([0, 1])
  })

  it('streams a message as the endpoint lists it', async () => {
    const stream = await openStream(`${product.origin}/api/rooms/events/messages`, mara.authorization)
    await stream.next<EventMessage>(({ type }) => type === 'subscribed')
    await product.database.query(`INSERT INTO messages (room, author, text) VALUES ('events', 'SQL', 'By hand')`)
    const event = await stream.next<EventMessage>(({ type }) => type === 'event')
    expect(event.event).toBe('message')
    const { messages } = await read<{ messages: Message[] }>('/api/rooms/events/messages', mara)
    expect(event.data).toEqual(messages[0])
    stream.close()
  })
})

describe('the operator', () => {
  const put = (authorization?: string): Promise<Response> =>
    postJson(
      `${product.origin}/crossfade/features/order-page`,
      { stage: 'shadow', percent: 40, rest: 'off' },
      authorization,
      'PUT',
    )
  const headerNow = async () => parseHeader((await get('/api/orders/1')).headers.get('crossfade'))

  it('sets a stage with the operator’s token, and nobody sets one without', async () => {
    for (const authorization of [undefined, 'Bearer nonsense', mara.authorization])
      expect([401, 403]).toContain((await put(authorization)).status)
    expect(await headerNow()).toMatchObject({ stage: 'push' })
    expect((await put(`Bearer ${product.operatorToken}`)).status).toBeLessThan(300)
    expect(await headerNow()).toMatchObject({ stage: 'shadow', percent: 40, rest: 'off' })
  })
})

describe('a restart', () => {
  it('keeps users and their tokens, the operator’s too', async () => {
    const { operatorToken } = product
    product = await product.restart()
    expect(product.operatorToken).toBe(operatorToken)
    expect(await read('/api/notifications', mara)).toMatchObject({ unread: expect.any(Number) as number })
    expect((await logIn(product.origin, 'Mara')).id).toBe(maraId)
    const etag = (await get('/api/orders')).headers.get('etag') ?? ''
    const held = get('/api/orders', { 'if-none-match': etag, prefer: 'wait=20' })
    await product.database.query(`INSERT INTO orders (item, quantity) VALUES ('After the restart', 1)`)
    expect((await held).status).toBe(200)
  })
})
