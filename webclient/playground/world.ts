import { listen } from '../shared/events.ts'
import { pause, Problem } from '../shared/http.ts'
import type { Api, Customer, Line, Mail, Member, Message, Ownership, Sent, Turn } from './api.ts'
import type { Channel, Person } from './people.ts'

/** Everything the page shows of the program, as last read. */
export interface World {
  /** Why nothing could be read just now; empty when it could. */
  away: string
  members: Member[]
  /** Names by system id, of those who ended as well. */
  names: Record<string, string>
  sent: Sent[]
  /** The person's mails, while they are looked at. */
  mails: Mail[]
  customer?: Customer | undefined
  messages: Message[]
  turns: Turn[]
  ownership: Ownership[]
}

export const nothing: World = { away: '', members: [], names: {}, sent: [], mails: [], messages: [], turns: [], ownership: [] }

/** What is being looked at. */
export interface Focus {
  person: Person
  channel: Channel
}

/** How long a change may go unnoticed: while a turn runs, and at rest. */
const watching = 350
const resting = 1_000

/**
 * Keeps a World current: it reads it again at every event of the program and
 * at least once a second, as long as somebody looks at the page.
 */
export class Watch {
  private world = nothing
  private known: Line | undefined
  private stale = 0 // when what the actor says of itself is asked again
  private wake: () => void = () => undefined

  constructor(
    private api: Api,
    private focus: Focus,
    private show: (w: World) => void,
  ) {}

  look(focus: Focus): void {
    this.focus = focus
    this.wake()
  }

  async run(signal: AbortSignal): Promise<void> {
    void this.hear(signal)
    while (!signal.aborted) {
      if (!document.hidden) await this.read()
      const busy = this.world.turns.some((t) => t.state === 'claimed')
      await Promise.race([pause(busy ? watching : resting, signal), new Promise<void>((done) => (this.wake = done))])
    }
  }

  /** Wakes at the program's events; without them the clock alone does. */
  private async hear(signal: AbortSignal): Promise<void> {
    let wait = 1_000
    let poked = 0
    while (!signal.aborted) {
      await listen('/api/v1/events', { headers: this.api.headers, signal }, {
        open: () => (wait = 1_000),
        event: () => {
          clearTimeout(poked)
          poked = setTimeout(() => this.wake(), 100)
        },
      }).catch(() => undefined)
      await pause(wait, signal)
      wait = Math.min(wait * 2, 30_000)
    }
  }

  private async read(): Promise<void> {
    const focus = this.focus
    try {
      const [members, sent, line, mails] = await Promise.all([
        this.api.members(), this.api.sent(this.world.sent.at(-1)?.n ?? 0), find(this.api, focus),
        focus.channel === 'email' ? this.api.mails(focus.person.email) : [],
      ])
      let next: World = { ...this.world, away: '', members: latest(members), names: { ...this.world.names, ...naming(members) }, sent: [...this.world.sent, ...sent], mails }
      if (!line) {
        next = { ...next, customer: undefined, messages: [], turns: [], ownership: [] }
      } else if (line.id !== next.customer?.id || line.version !== this.known?.version || line.epoch !== this.known.epoch || line.owner !== this.known.owner || performance.now() > this.stale) {
        const [customer, messages, turns, ownership] = await Promise.all([
          this.api.customer(line.id),
          this.api.messages(line.id),
          this.api.turns(line.id),
          this.api.ownership(line.id),
        ])
        this.stale = performance.now() + 3_000
        next = { ...next, customer, messages, turns, ownership }
      }
      if (focus !== this.focus) return // somebody looks elsewhere by now
      this.known = line
      this.world = next
    } catch (err) {
      this.world = { ...this.world, away: err instanceof Problem ? err.message : String(err) }
    }
    this.show(this.world)
  }
}

/** The customer of an address: WhatsApp knows the number, mail and form the e-mail. */
export function find(api: Api, { person, channel }: Focus): Promise<Line | undefined> {
  return api.customerAt(channel === 'whatsapp' ? { phone: person.phone } : { email: person.email })
}

const naming = (members: Member[]) => Object.fromEntries(members.map((m) => [m.system_id, m.name]))

/** The latest generation of each name, workers first. */
function latest(members: Member[]): Member[] {
  const byName = new Map<string, Member>()
  for (const m of members) {
    if ((byName.get(m.name)?.generation ?? 0) < m.generation) byName.set(m.name, m)
  }
  return [...byName.values()].sort((a, b) => +isApi(a) - +isApi(b) || a.name.localeCompare(b.name, 'en', { numeric: true }))
}

const endings: Record<string, string> = {
  refused: 'its address refuses connections and its lease does not move',
  lease: 'its lease ran out',
  majority: 'most of the others cannot reach it',
  replaced: 'a new generation took its place',
}

/** Why a member ended, as those who declared it said. */
export const ending = (m: Member) => endings[m.ended_why ?? ''] ?? m.ended_why ?? 'ended'

/** An API process answers HTTP and owns nobody. */
export const isApi = (m: Member) => !m.roles.includes('actors')
