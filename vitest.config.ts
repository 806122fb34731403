import { availableParallelism } from 'node:os'
import { defaultClientConditions, defaultServerConditions } from 'vite'
import { defineConfig } from 'vitest/config'

const source = '@crossfade/source'
const shared = {
  resolve: { conditions: [source, ...defaultClientConditions] },
  ssr: { resolve: { conditions: [source, ...defaultServerConditions] } },
  // The environment in which vitest runs `globalSetup`.
  environments: { __vitest__: { resolve: { conditions: [source, ...defaultServerConditions] } } },
}

/** On a busy machine everything takes longer, and is right all the same. */
const patience = { testTimeout: 60_000, hookTimeout: 60_000, expect: { poll: { timeout: 10_000 } } }

export default defineConfig({
  test: {
    // Tests wait for timers, processes and a database more than they compute, and vitest leaves one core to others.
    maxWorkers: Math.max(4, availableParallelism()),
    projects: [
      {
        ...shared,
        test: {
          name: 'unit',
          include: ['packages/{protocol,client,server,testkit}/test/**/*.test.ts'],
          ...patience,
        },
      },
      {
        ...shared,
        test: {
          name: 'integration',
          include: ['packages/changefeed/test/**/*.test.ts', 'apps/*/test/**/*.test.ts', 'test/*.test.ts'],
          globalSetup: ['test/postgres.ts', 'test/browser.ts'],
          ...patience,
        },
      },
    ],
  },
})
