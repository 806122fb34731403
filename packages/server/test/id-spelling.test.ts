import type { ChangeRule, IdForm } from '@crossfade/changefeed'
import Fastify from 'fastify'
import { describe, expect, it } from 'vitest'
import crossfade from '../src/index.ts'

const uuid = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'

/** What is logged for requests to `/api/orders/:id`, whose id is a column of this form. */
async function told(form: IdForm, ids: readonly string[], diagnostics = true): Promise<string[]> {
  const lines: string[] = []
  const app = Fastify({ logger: { level: 'warn', stream: { write: (line: string) => void lines.push(line) } } })
  const rule: ChangeRule = {
    table: { schema: 'public', name: 'orders', columns: ['id'], routing: ['id'] },
    ops: ['update'],
    names: ['id'],
    parameters: [{ parameter: 'id', column: 'id', form }],
    params: (row) => ({ id: String(row['id']) }),
  }
  await app.register(crossfade, { diagnostics })
  const block = { topic: 'orders/:id', audience: 'public' as const, on: [rule] }
  app.get('/api/orders/:id', { config: { crossfade: block } }, () => ({ ok: true }))
  for (const id of ids) await app.inject(`/api/orders/${encodeURIComponent(id)}`)
  await app.close()
  return lines.filter((line) => line.includes('may never hear'))
}

describe('an id that the database compares more loosely than text (C21)', () => {
  it.each([
    [{ kind: 'integer' }, '042', '\\"42\\"'],
    [{ kind: 'uuid' }, uuid.toUpperCase(), uuid],
    [{ kind: 'safeInteger' }, '9007199254740993', '9007199254740992'],
    [{ kind: 'padded', length: 4 }, 'ab', 'ab  '],
    [{ kind: 'loose', type: 'citext' }, 'ann', 'of type citext'],
  ] as const)('is told in development, with the spelling that changes have: %o %s', async (form, id, words) => {
    const [line] = await told(form, [id])
    expect(line).toContain('public.orders.id')
    expect(line).toContain(words)
  })

  it('is told once per route, however many requests and loads there are', async () => {
    expect(await told({ kind: 'integer' }, ['042', '042', '043'])).toHaveLength(1)
  })

  it('is not reported where it has the spelling of changes, nor in production', async () => {
    expect(await told({ kind: 'integer' }, ['42', 'latest'])).toEqual([])
    expect(await told({ kind: 'uuid' }, [uuid])).toEqual([])
    expect(await told({ kind: 'integer' }, ['042'], false)).toEqual([])
  })
})
