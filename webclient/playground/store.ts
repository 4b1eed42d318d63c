import type { Channel, Person } from './people.ts'
import type { Written } from './vendors.ts'

// What this browser tab wrote as which customer. The program keeps the messages;
// this holds what only the sender knows: headers, form tokens, what is on its way.
const shelf = 'fte.playground'

export class Notebook {
  private kept: Record<string, Written[]> = parse(sessionStorage.getItem(shelf))

  of(p: Person, channel: Channel): Written[] {
    return (this.kept[p.id] ?? []).filter((w) => w.channel === channel)
  }

  add(p: Person, w: Written): void {
    this.kept[p.id] = [...(this.kept[p.id] ?? []), w].slice(-200)
    sessionStorage.setItem(shelf, JSON.stringify(this.kept))
  }
}

function parse(text: string | null): Record<string, Written[]> {
  try {
    return (JSON.parse(text ?? '{}') as Record<string, Written[]> | null) ?? {}
  } catch {
    return {}
  }
}
