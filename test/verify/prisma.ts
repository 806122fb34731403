import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { startEmbeddedPostgres } from '@crossfade/testkit/embedded-postgres'
import type { FastifyInstance } from 'fastify'
import pg from 'pg'
import { writeExamples } from '../documents/examples.ts'
import { followed, followOrder } from '../documents/follow-order.ts'
import type { Check } from './checks.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const version = '7.10.0'

const schema = `
generator client {
  provider = "prisma-client"
  output   = "generated"
}
datasource db {
  provider = "postgresql"
}
model Order {
  id     Int @id
  status String
  @@map("orders")
}
`

const client = `
import { PrismaPg } from '@prisma/adapter-pg'
import { PrismaClient } from './generated/client.ts'

export const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: process.env['DATABASE_URL'] }) })
`

/** Runs README.md's example for Prisma with a generated client. Prisma is 300 MB, too much for every install of this project. */
export const prisma: Check = {
  name: 'prisma',
  usage: '',
  about: `Installs Prisma ${version} into a temporary folder and runs README.md's example for it on a real PostgreSQL.`,
  async run() {
    const { folder, remove } = await writeExamples('prisma', await readFile(join(root, 'README.md'), 'utf8'))
    const postgres = await startEmbeddedPostgres({ flags: ['-c', 'wal_level=logical'] })
    try {
      await generate(folder)
      await pushWithPrisma(folder, postgres.url)
      await connectionsEnd(postgres.url)
      return 0
    } finally {
      await postgres.stop()
      await remove()
    }
  },
}

async function generate(folder: string): Promise<void> {
  await writeFile(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
  await writeFile(join(folder, 'schema.prisma'), schema)
  await writeFile(join(folder, 'prisma.ts'), client)
  const packages = ['prisma', '@prisma/client', '@prisma/adapter-pg'].map((name) => `${name}@${version}`)
  await run('npm', ['install', '--no-package-lock', '--ignore-scripts', ...packages], { cwd: folder })
  await run(process.execPath, ['node_modules/prisma/build/index.js', 'generate', '--schema', 'schema.prisma'], {
    cwd: folder,
    // The engine for migrations is not needed, and would be downloaded.
    env: { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: process.execPath },
  })
}

async function pushWithPrisma(folder: string, url: string): Promise<void> {
  process.env['DATABASE_URL'] = url
  const pool = new pg.Pool({ connectionString: url })
  await pool.query(`CREATE TABLE orders (id integer PRIMARY KEY, status text NOT NULL)`)
  await pool.query(`INSERT INTO orders VALUES (42, 'new')`)
  const load = (file: string): Promise<unknown> => import(pathToFileURL(join(folder, file)).href)
  const { app } = (await load('with-prisma.ts')) as { app: FastifyInstance }
  const { prisma } = (await load('prisma.ts')) as { prisma: { $disconnect(): Promise<void> } }
  try {
    const { header, values } = await followOrder(app, (status) =>
      pool.query(`UPDATE orders SET status = $1 WHERE id = 42`, [status]),
    )
    assert.deepEqual(values, followed.values)
    assert.match(header ?? '', followed.header)
    console.log(`With Prisma ${version}: the answer has the header, and its change was pushed.`)
  } finally {
    await app.close()
    await prisma.$disconnect()
    await pool.end()
  }
}

/** A pool says that it has ended before its connections have; the database's stop would be an error to them. */
async function connectionsEnd(url: string): Promise<void> {
  const admin = new pg.Client({ connectionString: url })
  await admin.connect()
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const { rowCount } = await admin.query(
      `SELECT 1 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`,
    )
    if (rowCount === 0) break
    await admin.query('SELECT pg_sleep(0.1)')
  }
  await admin.end()
}
