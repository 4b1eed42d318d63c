import { json, type Request } from '../shared/http.ts'
import type { Channel } from './people.ts'

/** What GET /_dev/session says. */
export interface Session {
  operator_token: string
  mailbox: string
  whatsapp_number: string
  site_key: string
}

export interface Member {
  name: string
  generation: number
  system_id: string
  state: 'joining' | 'active' | 'draining' | 'left' | 'dead'
  address: string
  roles: string[]
  heartbeat_age_ms: number
  active_customers: number | null
  ended_why: string | null
}

/** A customer as lists have it. */
export interface Line {
  id: string
  owner: string | null
  epoch: number
  version: number
  mode: 'bot' | 'held' | 'person'
  held_by: string | null
  merged_into: string | null
}

export interface Customer extends Line {
  resident: boolean | null
  routed_to?: string | null
  mailbox_depth: number | null
  identifiers: { kind: string; value: string; level: number; status: string }[]
  tickets: Ticket[]
}

export interface Ticket {
  id: string
  reference: string
  channel: Channel
  status: string
  reason: string | null
}

export interface Message {
  seq: number
  direction: 'in' | 'out'
  channel: Channel
  external_id: string | null
  thread: string | null
  level: number
  by: 'customer' | 'agent' | 'person' | 'system'
  subject: string | null
  text: string
  turn: number | null
  disposition: string | null
  accepted_at: string | null
  committed_at: string
}

export interface Step {
  step: number
  kind: 'model' | 'tool'
  name: string
  at?: string
  epoch?: number
}

export interface Turn {
  turn: number
  kind: string
  inputs: number[]
  state: string
  outcome: string | null
  reply_seq: number | null
  losses: number
  claimed_at: string
  ended_at: string | null
  steps: Step[]
}

export interface Ownership {
  epoch: number
  owner: string
  previous: string | null
  reason: string
  at: string
}

/** What became of a customer's message. */
export interface Outcome {
  customer_id: string
  seq: number
  turn: number | null
  outcome: string
  reply: { seq: number; key: string; state: string } | null
}

/** A message that a simulated vendor accepted for delivery. */
export interface Sent {
  n: number
  channel: Channel
  from: string
  to: string
  subject: string
  body: string
  text: string // the whole visible text
  key: string
  provider_id: string
  in_reply_to: string
  references: string
  thread_id: string
  at: string
}

/** A mail as the simulated Gmail has it: of our mailbox, in or out. */
export interface Mail {
  n: number
  id: string
  thread_id: string
  direction: 'in' | 'out'
  at: string
  from: string
  to: string
  subject: string
  text: string
  headers: { name: string; value: string }[]
}

export type Signal = 'KILL' | 'STOP' | 'CONT'

interface List<T> {
  items: T[]
  next: string
}

/** The operator API and what `fte dev` adds to it, with the operator's token. */
export class Api {
  constructor(readonly session: Session) {}

  static async open(): Promise<Api> {
    return new Api(await json<Session>('/_dev/session'))
  }

  get headers(): Record<string, string> {
    return { Authorization: `Bearer ${this.session.operator_token}` }
  }

  ask<T>(path: string, request: Request = {}): Promise<T> {
    return json<T>(path, { ...request, headers: { ...this.headers, ...request.headers } })
  }

  private async list<T>(path: string, query: Record<string, string> = {}): Promise<T[]> {
    return (await this.ask<List<T>>(`/api/v1/${path}?${new URLSearchParams(query)}`)).items
  }

  members = () => this.list<Member>('members')
  /** The customer who has an address, whoever it was merged into. */
  async customerAt(address: { phone: string } | { email: string }): Promise<Line | undefined> {
    const [line] = await this.list<Line>('customers', { ...address })
    return line?.merged_into ? (await this.list<Line>('customers', { q: line.merged_into }))[0] : line
  }
  line = async (id: string) => (await this.list<Line>('customers', { q: id }))[0]
  customer = (id: string) => this.ask<Customer>(`/api/v1/customers/${id}`)
  /** History, turns and owners come newest first. */
  messages = (id: string, limit = 60) => this.list<Message>(`customers/${id}/messages`, { limit: `${limit}` })
  turns = (id: string, limit = 8) => this.list<Turn>(`customers/${id}/turns`, { limit: `${limit}` })
  ownership = (id: string, limit = 8) => this.list<Ownership>(`customers/${id}/ownership`, { limit: `${limit}` })
  outcome = (channel: Channel, externalId: string) =>
    this.ask<Outcome>(`/api/v1/messages?${new URLSearchParams({ channel, external_id: externalId })}`)

  private act = <T>(id: string, what: string, body: unknown, headers: Record<string, string> = {}) =>
    this.ask<T>(`/api/v1/customers/${id}/${what}`, { method: 'POST', body, headers })
  takeOver = (id: string, person: string) => this.act<{ on_its_way: string[] }>(id, 'takeover', { person })
  reply = (id: string, text: string, channel: Channel, ticket?: string) =>
    this.act<{ key: string; leaves_at?: string }>(id, 'reply', { text, channel, ...(ticket && { ticket_id: ticket }) }, { 'Idempotency-Key': crypto.randomUUID() })
  undo = (id: string, key: string) => this.ask<unknown>(`/api/v1/customers/${id}/reply/${encodeURIComponent(key)}`, { method: 'DELETE' })
  release = (id: string, answerHeld: boolean) => this.act<void>(id, 'release', { answer_held: answerHeld })
  resolve = (id: string, ticket: string) => this.act<void>(id, 'resolve', { ticket_id: ticket, note: 'resolved in the playground' })

  sent = (after: number) => this.ask<Sent[]>(`/_dev/sim/sent?after=${after}`)
  /** Every mail from or to an address, in order. */
  mails = (address: string) => this.ask<Mail[]>(`/_dev/sim/gmail/messages?${new URLSearchParams({ address })}`)
  signal = (member: string, signal: Signal) => this.ask<{ pid: number }>(`/_dev/members/${member}/kill`, { method: 'POST', body: { signal } })
  thinking = async () => (await this.ask<{ delay: string }>('/_dev/think')).delay
  think = (delay: string) => this.ask<unknown>('/_dev/think', { method: 'PUT', body: { delay } })
}
