import { json } from '../shared/http.ts'
import type { Fields } from './fields.ts'

/** A ticket that was opened, with the token that shows it. */
export interface Opened {
  ticket_id: string
  reference: string
  access_token: string
  message: string
  estimated_response_time: string
}

export interface Ticket {
  status: 'received' | 'open' | 'answered' | 'with_person' | 'resolved'
  messages: Message[]
}

export interface Message {
  seq: number
  by: 'customer' | 'agent' | 'person'
  text: string
  at: string
  /** The customer's messages that this one answers. */
  answers?: number[] | null
}

/** Sends the form. The same key with the same content is the same ticket, however often it is sent. */
export function submit(siteKey: string, key: string, fields: Fields, files: readonly File[]): Promise<Opened> {
  const given = Object.entries(fields)
    .map(([name, value]) => [name, name === 'message' ? value : value.trim()] as const)
    .filter(([, value]) => value !== '')
  let body: unknown = Object.fromEntries(given)
  if (files.length) {
    const form = new FormData()
    for (const [name, value] of given) form.append(name, value)
    for (const file of files) form.append('attachments', file)
    body = form
  }
  return json<Opened>('/support/submit', { method: 'POST', headers: { 'X-Site-Key': siteKey, 'Idempotency-Key': key }, body })
}

const path = (t: Opened) => `/support/ticket/${encodeURIComponent(t.ticket_id)}`
const bearer = (t: Opened) => ({ Authorization: `Bearer ${t.access_token}` })

export const ticket = {
  events: (t: Opened) => ({ path: `${path(t)}/events`, headers: bearer(t) }),
  read: (t: Opened, signal?: AbortSignal) => json<Ticket>(path(t), { headers: bearer(t), ...(signal && { signal }) }),
  /** Has a code mailed to the address of the form. */
  verify: (t: Opened) => json<{ message?: string }>(`${path(t)}/verify`, { method: 'POST', headers: bearer(t) }),
  confirm: (t: Opened, code: string) =>
    json<{ verified: boolean; link_page?: string }>(`${path(t)}/confirm`, { method: 'POST', headers: bearer(t), body: { code } }),
}
