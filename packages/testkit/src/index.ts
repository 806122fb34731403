/**
 * What Crossfade is tested with, also for applications that build on it: fault proxies, seeded randomness and the judge of histories.
 *
 * @module
 */
export { FaultProxy, type Faults, type StreamFault, type UpgradeFault } from './fault-proxy.ts'
export { judge, type History, type LogHistory, type ValueHistory, type Violation } from './history/judge.ts'
export { seededRandom, type Random } from './random.ts'
