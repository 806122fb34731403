import { variants, type VariantName } from './variants.ts'

// One variant in a process of its own; the parent publishes and asks for CPU time by messages.
const variant = variants[process.argv[2] as VariantName]
const { port, publish } = await variant.start()
process.on('message', (message: { publish?: number; cpu?: true }) => {
  if (message.publish !== undefined) publish(message.publish)
  if (message.cpu) {
    const { user, system } = process.cpuUsage()
    process.send?.({ cpuMs: (user + system) / 1000 })
  }
})
process.once('disconnect', () => process.exit(0))
process.send?.({ port })
