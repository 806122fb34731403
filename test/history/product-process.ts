import { openProduct } from './product.ts'

// Run as a process of its own, so that the checker can kill it.
const [databaseUrl = '', port = '0'] = process.argv.slice(2)
const app = await openProduct(databaseUrl)
process.once('SIGTERM', () => void app.close().then(() => process.exit(0)))
console.log(`ready ${await app.listen({ host: '127.0.0.1', port: Number(port) })}`)
