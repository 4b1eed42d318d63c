import type { Channel, Person } from './people.ts'
import type { Written } from './vendors.ts'

// What this browser tab wrote as which customer. The program keeps the messages;
// this holds what only the sender knows: a form's token, what is on its way.

export class Notebook {
  private readonly shelf: string
  private kept: Record<string, Written[]>

  /** The name tells one installation from the next at the same address. */
  constructor(name: string) {
    this.shelf = `fte.playground.${name}`
    this.kept = parse(sessionStorage.getItem(this.shelf))
  }

  of(p: Person, channel: Channel): Written[] {
    return (this.kept[p.id] ?? []).filter((w) => w.channel === channel)
  }

  add(p: Person, w: Written): void {
    this.kept[p.id] = [...(this.kept[p.id] ?? []), w].slice(-200)
    sessionStorage.setItem(this.shelf, JSON.stringify(this.kept))
  }
}

function parse(text: string | null): Record<string, Written[]> {
  try {
    return (JSON.parse(text ?? '{}') as Record<string, Written[]> | null) ?? {}
  } catch {
    return {}
  }
}
