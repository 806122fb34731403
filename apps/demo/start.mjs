import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

// Node 20 needs a loader for TypeScript and a flag for the packages' sources, so the demo runs in a child. Signals go to it, its exit
// code comes back, and when this process dies the child notices by the closed channel.
const folder = fileURLToPath(new URL('.', import.meta.url))
const child = spawn(process.execPath, ['--import', 'tsx', '--conditions=@crossfade/source', 'src/main.ts'], {
  cwd: folder,
  stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
})
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'])
  process.on(signal, () => child.kill(signal === 'SIGHUP' ? 'SIGTERM' : signal))
child.on('exit', (code, signal) => process.exit(code ?? (signal === null ? 1 : 128)))
