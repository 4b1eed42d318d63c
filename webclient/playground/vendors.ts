import { submit, type Opened } from '../form/edge.ts'
import { empty } from '../form/fields.ts'
import type { Api } from './api.ts'
import type { Channel, Person } from './people.ts'

/** A message as a customer wrote it here, and what the vendor made of it. */
export interface Written {
  channel: Channel
  external_id: string // as the program's messages have it
  text: string
  at: string
  accepted: boolean // the program took it from the vendor
  mail?: MailHeaders
  opened?: Opened // the ticket of a form
}

export interface MailHeaders {
  from: string
  to: string
  subject: string
  message_id: string
  in_reply_to: string
  references: string[]
  thread?: string
}

/** Writes on WhatsApp; the vendor calls our webhook before this returns. */
export async function whatsapp(api: Api, p: Person, text: string): Promise<Written> {
  const form = new URLSearchParams({ From: `whatsapp:${p.phone}`, Body: text, ProfileName: p.name })
  const r = await api.ask<{ MessageSid: string; webhook_status: number }>('/_dev/sim/whatsapp/inbound', { method: 'POST', body: form })
  return { channel: 'whatsapp', external_id: r.MessageSid, text, at: new Date().toISOString(), accepted: r.webhook_status === 200 }
}

/** Writes a mail, in answer to another one or on its own. */
export async function mail(api: Api, p: Person, subject: string, text: string, answers?: { id: string; references: string[] }): Promise<Written> {
  const headers: MailHeaders = {
    from: `${oneLine(p.name)} <${oneLine(p.email)}>`,
    to: api.session.mailbox,
    subject: oneLine(subject),
    message_id: `<${crypto.randomUUID()}@${p.email.split('@')[1]}>`,
    in_reply_to: answers?.id ?? '',
    references: answers ? [...answers.references, answers.id] : [],
  }
  const r = await api.ask<{ id: string; threadId: string }>('/_dev/sim/gmail/inbound', {
    method: 'POST',
    headers: { 'Content-Type': 'message/rfc822' },
    body: raw(headers, text),
  })
  // A mail counts as accepted once it lies in the mailbox.
  return { channel: 'email', external_id: `${api.session.mailbox}/${r.id}`, text, at: new Date().toISOString(), accepted: true, mail: { ...headers, thread: r.threadId } }
}

/** Fills in the form with a question and sends it. */
export async function form(api: Api, p: Person, text: string): Promise<Written> {
  const fields = { ...empty, name: p.name, email: p.email, subject: text.slice(0, 60), category: 'technical', message: text }
  return filed(await submit(api.session.site_key, crypto.randomUUID(), fields, []), text)
}

/** What a submitted form is in the list of what was written. */
export function filed(opened: Opened, text: string): Written {
  return { channel: 'webform', external_id: opened.ticket_id, text, at: new Date().toISOString(), accepted: true, opened }
}

/** The mail as it goes over the wire (RFC 5322). */
function raw(h: MailHeaders, text: string): string {
  const lines = [
    `From: ${encoded(h.from)}`,
    `To: ${h.to}`,
    `Subject: ${encoded(h.subject)}`,
    `Date: ${new Date().toUTCString().replace('GMT', '+0000')}`,
    `Message-ID: ${h.message_id}`,
    ...(h.in_reply_to ? [`In-Reply-To: ${h.in_reply_to}`, `References: ${h.references.join(' ')}`] : []),
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=utf-8',
    'Content-Transfer-Encoding: 8bit',
  ]
  return [...lines, '', ...text.split('\n'), ''].join('\r\n')
}

const oneLine = (text: string) => text.replace(/[\r\n]+/g, ' ')

/** A header's words, encoded where they are not ASCII (RFC 2047); an address stays as it is. */
function encoded(value: string): string {
  return value.replace(/[^\x20-\x7e][^<]*/, (words) => {
    const bytes = String.fromCharCode(...new TextEncoder().encode(words.trimEnd()))
    return `=?utf-8?B?${btoa(bytes)}?= `
  }).trimEnd()
}
