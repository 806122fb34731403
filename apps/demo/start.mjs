import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

// Node 20 needs a loader for TypeScript and a flag for the packages' sources, so the demo runs in a child. Signals go to it, its exit
// code comes back, and when this process dies the child notices by the closed channel.
const folder = fileURLToPath(new URL('.', import.meta.url))
const child = spawn(process.execPath, ['--import', 'tsx', '--conditions=@crossfade/source', 'src/main.ts'], {
  cwd: folder,
  stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
})
let isEnding = false
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) {
  process.on(signal, () => {
    isEnding = true
    child.kill(signal === 'SIGHUP' ? 'SIGTERM' : signal)
  })
}
// Before the child listens to signals it dies of them, and has nothing to end yet.
child.on('exit', (code) => process.exit(code ?? (isEnding ? 0 : 128)))
