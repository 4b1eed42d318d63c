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
  opened?: Opened // the ticket of a form
}

/** The mail that another one answers. */
export interface Answered {
  id: string // its Message-ID
  references: string
}

/** Writes on WhatsApp; the vendor calls our webhook before this returns. */
export async function whatsapp(api: Api, p: Person, text: string): Promise<Written> {
  const form = new URLSearchParams({ From: `whatsapp:${p.phone}`, Body: text, ProfileName: p.name })
  const r = await api.ask<{ MessageSid: string; webhook_status: number }>('/_dev/sim/whatsapp/inbound', { method: 'POST', body: form })
  return { channel: 'whatsapp', external_id: r.MessageSid, text, at: new Date().toISOString(), accepted: r.webhook_status === 200 }
}

/** Writes a mail, in answer to another one or on its own. */
export async function mail(api: Api, p: Person, subject: string, text: string, answers?: Answered): Promise<Written> {
  const lines = [
    `From: ${encoded(oneLine(p.name))} <${oneLine(p.email)}>`,
    `To: ${api.session.mailbox}`,
    `Subject: ${encoded(oneLine(subject))}`,
    `Date: ${new Date().toUTCString().replace('GMT', '+0000')}`,
    `Message-ID: <${crypto.randomUUID()}@${p.email.split('@')[1]}>`,
    ...(answers ? [`In-Reply-To: ${answers.id}`, `References: ${`${answers.references} ${answers.id}`.trim()}`] : []),
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=utf-8',
    'Content-Transfer-Encoding: 8bit',
    '',
    ...text.split('\n'),
    '',
  ]
  const r = await api.ask<{ id: string }>('/_dev/sim/gmail/inbound', {
    method: 'POST',
    headers: { 'Content-Type': 'message/rfc822' },
    body: lines.join('\r\n'),
  })
  // A mail counts as accepted once it lies in the mailbox.
  return { channel: 'email', external_id: `${api.session.mailbox}/${r.id}`, text, at: new Date().toISOString(), accepted: true }
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

const oneLine = (text: string) => text.replace(/[\r\n]+/g, ' ')

/** A header's words, encoded where they are not ASCII (RFC 2047). */
function encoded(words: string): string {
  if (/^[\x20-\x7e]*$/.test(words)) return words
  return `=?utf-8?B?${btoa(String.fromCharCode(...new TextEncoder().encode(words)))}?=`
}
