import { element, find } from './element.ts'
import { Faders } from './faders.ts'
import { Meter } from './meter.ts'
import { NetworkPanel } from './network.ts'
import { startPolling } from './polling.ts'
import { startPushing } from './pushing.ts'
import { Side } from './side.ts'

const nameKey = 'demo-name'
const name = localStorage.getItem(nameKey) ?? `Guest ${Math.floor(Math.random() * 900) + 100}`

await logIn(name)
const network = await NetworkPanel.open()
const pollMeter = new Meter(find('[data-meter="poll"]'))
const pushMeter = new Meter(find('[data-meter="push"]'))
const pollSide = new Side(find('[data-side="poll"]'), pollMeter, openOrder)
const pushSide = new Side(find('[data-side="push"]'), pushMeter, openOrder)
const openers = [startPolling(pollSide, pollMeter), startPushing(pushSide, pushMeter, new Faders(), network)]
let openedOrder: number | null = null
handForms()
void showHowToWrite()

/** Both halves show the same order's page. */
function openOrder(id: number, isChosen: boolean): void {
  if (id === openedOrder || (openedOrder !== null && !isChosen)) return
  openedOrder = id
  for (const open of openers) open(id)
}

async function post(url: string, body: object): Promise<Response> {
  return fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
}

async function logIn(who: string): Promise<void> {
  await post('/api/login', { name: who })
  localStorage.setItem(nameKey, who)
  find<HTMLInputElement>('#name').value = who
}

function handForms(): void {
  onSubmit('#login', async () => {
    await logIn(find<HTMLInputElement>('#name').value)
    location.reload()
  })
  onSubmit('#order', (fields) =>
    post('/api/orders', { item: fields.get('item'), quantity: Number(fields.get('quantity')) }),
  )
  onSubmit('#say', (fields) => post('/api/rooms/general/messages', { text: fields.get('text') }))
}

function onSubmit(selector: string, send: (fields: FormData) => Promise<unknown>): void {
  const form = find<HTMLFormElement>(selector)
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    void send(new FormData(form)).then(() => {
      if (selector !== '#login') form.reset()
    })
  })
}

async function showHowToWrite(): Promise<void> {
  const { databaseUrl } = (await (await fetch('/demo/info')).json()) as { databaseUrl: string | null }
  find('#psql').append(
    element(
      'span',
      {},
      `psql ${databaseUrl ?? '"$DATABASE_URL"'}\nUPDATE orders SET status = 'shipped', version = version + 1, updated_at = now() WHERE id = 1;`,
    ),
  )
}
