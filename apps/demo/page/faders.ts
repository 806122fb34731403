import type { Parity } from '@crossfade/client'
import { element, fill, find } from './element.ts'

const stages = ['off', 'shadow', 'hint', 'push'] as const
type Stage = (typeof stages)[number]

const shown = [
  ['order-board', 'Order board'],
  ['prices', 'Prices'],
  ['notifications', 'Notifications'],
  ['chat', 'Chat'],
] as const

/** A fader for each feature, and in `shadow` how often poll and push agreed. */
export class Faders {
  readonly #outputs = new Map<string, HTMLElement>()
  readonly #stages = new Map<string, Stage>()

  constructor() {
    fill(
      find('#faders'),
      shown.map(([feature, title]) => this.#fader(feature, title)),
    )
    setInterval(() => void this.refresh(), 5_000)
    void this.refresh()
  }

  /** Another visitor may have moved a fader. */
  async refresh(): Promise<void> {
    try {
      const { features } = (await (await fetch('/demo/stages')).json()) as {
        features: { feature: string; stage: Stage }[]
      }
      for (const { feature, stage } of features) this.show(feature, stage)
    } catch {
      // The server is away; what is shown stays.
    }
  }

  show(feature: string, stage: Stage): void {
    if (this.#stages.get(feature) !== stage) this.#outputs.get(feature)?.replaceChildren(hints[stage])
    this.#stages.set(feature, stage)
    const group = document.querySelector(`[data-testid="stage-${feature}"]`)
    for (const button of group?.querySelectorAll('button') ?? [])
      button.setAttribute('aria-pressed', String(button.value === stage))
  }

  parity(feature: string, { agree, disagree, unsettled }: Parity): void {
    const output = this.#outputs.get(feature)
    if (output === undefined || this.#stages.get(feature) !== 'shadow') return
    output.classList.toggle('bad', disagree > 0)
    // `unsettled`: it changed just then, so that nothing can be said.
    output.textContent = `${agree} agree · ${disagree} differ${unsettled > 0 ? ` · ${unsettled} unsettled` : ''}`
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
      element('header', {}, element('b', {}, title), output),
      element(
        'div',
        { class: 'stages', role: 'group', 'aria-label': title, 'data-testid': `stage-${feature}` },
        ...buttons,
      ),
    )
  }

  async #set(feature: string, stage: Stage): Promise<void> {
    this.show(feature, stage)
    await fetch('/demo/stages', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ feature, stage }),
    })
  }
}

const hints: Record<Stage, string> = {
  off: 'polls, as before',
  shadow: 'polls; push runs beside',
  hint: 'push says when to read',
  push: 'data comes by push',
}
