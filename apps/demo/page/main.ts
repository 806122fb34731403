import { element, find } from './element.ts'
import { Faders } from './faders.ts'
import { logIn, logInAgain, wordsOf } from './login.ts'
import { Meter } from './meter.ts'
import { NetworkPanel } from './network.ts'
import { tell } from './notice.ts'
import { startPolling } from './polling.ts'
import { post } from './post.ts'
import { startPushing } from './pushing.ts'
import { Side } from './side.ts'

let openedOrder: number | null = null
handForms()
void showHowToWrite()
// Before any other request: a connection belongs to the user who was logged in when it began.
await logInAgain()
const network = await NetworkPanel.open()
const pollMeter = new Meter(find('[data-meter="poll"]'))
const pushMeter = new Meter(find('[data-meter="push"]'))
const pollSide = new Side(find('[data-side="poll"]'), pollMeter, openOrder)
const pushSide = new Side(find('[data-side="push"]'), pushMeter, openOrder)
const openers = [startPolling(pollSide, pollMeter), startPushing(pushSide, pushMeter, new Faders(), network)]

/** Both halves show the same order's page. */
function openOrder(id: number, isChosen: boolean): void {
  if (id === openedOrder || (openedOrder !== null && !isChosen)) return
  openedOrder = id
  for (const open of openers) open(id)
}

function handForms(): void {
  onSubmit('#login', async () => {
    await logIn(find<HTMLInputElement>('#name').value)
    location.reload()
  })
  onSubmit('#order', async (fields, form) => {
    await post('/api/orders', { item: fields.get('item'), quantity: Number(fields.get('quantity')) })
    form.reset()
  })
  onSubmit('#say', async (fields, form) => {
    await post('/api/rooms/general/messages', { text: fields.get('text') })
    form.reset()
  })
}

function onSubmit(selector: string, send: (fields: FormData, form: HTMLFormElement) => Promise<void>): void {
  const form = find<HTMLFormElement>(selector)
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    send(new FormData(form), form).then(
      () => tell(''),
      (error: unknown) => tell(`It was not sent: ${wordsOf(error)}.`),
    )
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
