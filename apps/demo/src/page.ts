import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import serveStatic from '@fastify/static'
import type { FastifyInstance } from 'fastify'

const root = fileURLToPath(new URL('..', import.meta.url))
const sources = [join(root, 'page'), join(root, '../../packages/client/src'), join(root, '../../packages/protocol/src')]

/** Builds the page with Vite when its sources are newer than the last build. @returns the folder. */
export async function buildPage(): Promise<string> {
  const folder = join(root, 'dist/page')
  const builtAt = existsSync(join(folder, 'index.html')) ? statSync(join(folder, 'index.html')).mtimeMs : 0
  if (sources.some((source) => newest(source) > builtAt)) {
    const { build, defaultClientConditions } = await import('vite')
    await build({
      root: join(root, 'page'),
      logLevel: 'warn',
      resolve: { conditions: ['@crossfade/source', ...defaultClientConditions] },
      build: { outDir: folder, emptyOutDir: true },
    })
  }
  return folder
}

/** Serves the page, and tells it where the database is, so that it can show how to write from outside. */
export async function registerPage(app: FastifyInstance, folder: string, databaseUrl: string | null): Promise<void> {
  await app.register(serveStatic, { root: folder })
  app.get('/demo/info', async () => ({ databaseUrl }))
}

function newest(folder: string): number {
  return Math.max(
    0,
    ...readdirSync(folder, { withFileTypes: true }).map((entry) => {
      const path = join(folder, entry.name)
      return entry.isDirectory() ? newest(path) : statSync(path).mtimeMs
    }),
  )
}
