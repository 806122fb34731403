/** Makes an element. Text stays text: nothing that a visitor wrote becomes markup. */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Readonly<Record<string, string>>,
  ...children: (string | HTMLElement)[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name)
  for (const [attribute, value] of Object.entries(attributes)) if (value !== '') made.setAttribute(attribute, value)
  made.append(...children)
  return made
}

/** Replaces what an element holds. */
export function fill(parent: HTMLElement, children: readonly HTMLElement[]): void {
  parent.replaceChildren(...children)
}

/** The element that a selector finds; the page's own markup has it. */
export function find<Found extends Element = HTMLElement>(selector: string, root: ParentNode = document): Found {
  const found = root.querySelector<Found>(selector)
  if (found === null) throw new Error(`the page has no ${selector}`)
  return found
}
