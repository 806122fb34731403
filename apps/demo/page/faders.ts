import type { Watch, WatchState } from '@crossfade/client'
import { element, fill, find } from './element.ts'
import { post } from './post.ts'

const stages = ['off', 'shadow', 'hint', 'push'] as const
type Stage = (typeof stages)[number]

/** What the server says about a feature. */
interface Setting {
  readonly feature: string
  readonly stage: Stage
  readonly percent: number
  readonly rest: Stage
}

const shown = [
  ['order-board', 'Order board'],
  ['order-page', 'Order page'],
  ['prices', 'Prices'],
  ['notifications', 'Notifications'],
  ['chat', 'Chat'],
] as const

/** A fader for each feature with the stage that is set, and what this page does about it: in `shadow`, how often poll and push agreed. */
export class Faders {
  readonly #outputs = new Map<string, HTMLElement>()
  readonly #watches = new Map<string, Watch>()
  readonly #settings = new Map<string, Setting>()

  constructor() {
    fill(
      find('#faders'),
      shown.map(([feature, title]) => this.#fader(feature, title)),
    )
    setInterval(() => void this.refresh(), 5_000)
    setInterval(() => this.#tell(), 250)
    void this.refresh()
  }

  /** Shows what these features do on this page. */
  follow(watches: Record<string, Watch>): void {
    for (const [feature, watch] of Object.entries(watches)) this.#watches.set(feature, watch)
    this.#tell()
  }

  /** Another visitor may have moved a fader. */
  async refresh(): Promise<void> {
    try {
      const { features } = (await (await fetch('/demo/stages')).json()) as { features: Setting[] }
      for (const setting of features) this.show(setting)
    } catch {
      // The server is down; the page stays as it is.
    }
  }

  /** Shows what is set; where it is not for all, which part of the users it is for, and where this client is. */
  show(setting: Setting): void {
    const { feature, stage, percent } = setting
    this.#settings.set(feature, setting)
    const group = document.querySelector<HTMLElement>(`[data-testid="stage-${feature}"]`)
    if (group === null) return
    group.classList.toggle('partly', percent < 100)
    for (const button of group.querySelectorAll('button'))
      button.setAttribute('aria-pressed', String(button.value === stage))
    this.#tell()
  }

  #tell(): void {
    for (const [feature, watch] of this.#watches) {
      const output = this.#outputs.get(feature)
      const { state } = watch
      if (output === undefined) continue
      output.classList.toggle('bad', state.stage === 'shadow' && state.parity.disagree > 0)
      const text = hintOf(state)
      if (output.textContent !== text) output.textContent = text
      this.#tellShare(feature, state.stage)
    }
  }

  #tellShare(feature: string, mine: Stage): void {
    const share = find(`[data-testid="share-${feature}"]`)
    const { stage, percent, rest } = this.#settings.get(feature) ?? { stage: mine, percent: 100, rest: mine }
    const text = percent < 100 ? `${stage} for ${percent} %, ${rest} for the rest; you: ${mine}` : ''
    if (share.textContent !== text) share.textContent = text
    for (const button of document.querySelectorAll<HTMLButtonElement>(`[data-testid="stage-${feature}"] button`)) {
      if (button.value === mine) button.setAttribute('aria-current', 'true')
      else button.removeAttribute('aria-current')
    }
  }

  #fader(feature: string, title: string): HTMLElement {
    const output = element('output', { 'data-testid': `parity-${feature}` })
    this.#outputs.set(feature, output)
    const buttons = stages.map((stage) => {
      const button = element('button', { type: 'button', value: stage, 'aria-pressed': 'false' }, stage)
      button.addEventListener('click', () => void this.#set(feature, stage))
      return button
    })
    return element(
      'div',
      { class: 'fader' },
      element(
        'header',
        {},
        element('b', {}, title),
        output,
        element('small', { class: 'share', 'data-testid': `share-${feature}` }),
      ),
      element(
        'div',
        { class: 'stages', role: 'group', 'aria-label': title, 'data-testid': `stage-${feature}` },
        ...buttons,
      ),
    )
  }

  async #set(feature: string, stage: Stage): Promise<void> {
    this.show({ feature, stage, percent: 100, rest: 'off' })
    // If it fails, the next refresh shows the real state.
    await post('/demo/stages', { feature, stage }).catch(() => {})
  }
}

function hintOf({ stage, live, parity }: WatchState): string {
  if (stage === 'off') return 'polls, as before'
  if (stage === 'shadow') return comparison(parity)
  if (!live) return 'polls until push gets through'
  return stage === 'hint' ? 'push says when to read' : 'data comes by push'
}

function comparison({ agree, disagree, unsettled }: WatchState['parity']): string {
  if (agree + disagree + unsettled === 0) return 'polls; push runs beside'
  // `unsettled`: the value changed just then, so the comparison is void.
  return `${agree} agree · ${disagree} differ${unsettled > 0 ? ` · ${unsettled} unsettled` : ''}`
}
