import { useState } from 'preact/hooks'
import type { Api, Message, Sent } from './api.ts'
import { clock } from './actor.tsx'
import { first, type Person } from './people.ts'
import type { MailHeaders, Written } from './vendors.ts'

interface Props {
  api: Api
  person: Person
  written: Written[]
  messages: Message[]
  sent: Sent[]
  onWrite(subject: string, text: string, answers?: { id: string; references: string[] }): Promise<void>
}

interface Mail extends MailHeaders {
  id: string
  own: boolean
  text: string
  at: string
}

/** The customer's mailbox, thread by thread, with the headers that make the threads. */
export function Mailbox({ api, person, written, messages, sent, onWrite }: Props) {
  const threads = mailbox(api, person, written, messages, sent)
  const newest = threads[0]
  const [fresh, setFresh] = useState(false)
  const replying = newest !== undefined && !fresh
  return (
    <section class="mailbox" aria-label={`Mail of ${person.name}`}>
      <Compose
        key={`${person.id} ${replying}`}
        who={first(person)}
        subject={replying ? `Re: ${bare(newest[0]!.subject)}` : ''}
        replying={replying}
        onFresh={newest && (() => setFresh(!fresh))}
        onWrite={async (subject, text) => {
          const last = newest?.findLast((m) => m.message_id)
          await onWrite(subject, text, replying && last ? { id: last.message_id, references: last.references } : undefined)
          setFresh(false)
        }}
      />
      {threads.length === 0 && <p class="empty">An empty mailbox. Write to {api.session.mailbox}, as {first(person)} would.</p>}
      {threads.map((mails) => (
        <article class="mail-thread" key={mails[0]!.id}>
          <h3>{bare(mails[0]!.subject) || '(no subject)'}</h3>
          {mails.map((m) => (
            <MailView key={m.id} mail={m} />
          ))}
        </article>
      ))}
    </section>
  )
}

function MailView({ mail: m }: { mail: Mail }) {
  const headers: [string, string][] = [
    ['From', m.from],
    ['To', m.to],
    ['Subject', m.subject],
    ['Message-ID', m.message_id],
    ['In-Reply-To', m.in_reply_to],
    ['References', m.references.join(' ')],
  ]
  return (
    <div class={m.own ? 'mail own' : 'mail'}>
      <dl>
        {headers
          .filter(([, value]) => value)
          .map(([name, value]) => (
            <div>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        <div>
          <dt>Date</dt>
          <dd>{clock(m.at)}</dd>
        </div>
      </dl>
      <p>{m.text}</p>
    </div>
  )
}

interface ComposeProps {
  who: string
  subject: string
  replying: boolean
  onFresh: (() => void) | undefined
  onWrite(subject: string, text: string): Promise<void>
}

function Compose({ who, subject: given, replying, onFresh, onWrite }: ComposeProps) {
  const [subject, setSubject] = useState(given)
  const [text, setText] = useState('')
  const [error, setError] = useState('')
  const send = async (e: Event) => {
    e.preventDefault()
    try {
      setError('')
      await onWrite(subject, text)
      setText('')
    } catch (err) {
      setError(err instanceof Error ? err.message : String(err))
    }
  }
  return (
    <form class="compose" onSubmit={send}>
      <label for="mail-subject">Subject</label>
      <input id="mail-subject" required value={subject} onInput={(e) => setSubject(e.currentTarget.value)} />
      <label for="mail-text">{replying ? `${who} replies` : `${who} writes`}</label>
      <textarea id="mail-text" rows={3} required value={text} onInput={(e) => setText(e.currentTarget.value)} />
      <div class="row">
        <button type="submit" class="primary">
          Send mail
        </button>
        {onFresh && (
          <button type="button" class="plain" onClick={onFresh}>
            {replying ? 'Start a new thread instead' : 'Reply in the last thread instead'}
          </button>
        )}
      </div>
      <p class="error" role="alert">
        {error}
      </p>
    </form>
  )
}

const bare = (subject: string) => subject.replace(/^((re|aw|fwd?):\s*)+/i, '')

/** All mails of a person, newest thread first, each thread in order. */
function mailbox(api: Api, p: Person, written: Written[], messages: Message[], sent: Sent[]): Mail[][] {
  const headers = new Map(written.map((w) => [w.external_id, w.mail]))
  const stored = messages.filter((m) => m.channel === 'email' && m.direction === 'in')
  const known = new Set(stored.map((m) => m.external_id))
  const us = api.session.mailbox
  const plain: MailHeaders = { from: `${p.name} <${p.email}>`, to: us, subject: '', message_id: '', in_reply_to: '', references: [] }
  const mails: Mail[] = [
    ...stored.map((m) => {
      const h = headers.get(m.external_id ?? '')
      return { ...plain, subject: m.subject ?? '', ...(m.thread && { thread: m.thread }), ...h, id: m.external_id!, own: true, text: m.text, at: m.accepted_at ?? m.committed_at }
    }),
    ...written.filter((w) => !known.has(w.external_id)).map((w) => ({ ...plain, ...w.mail, id: w.external_id, own: true, text: w.text, at: w.at })),
    ...sent
      .filter((s) => s.channel === 'email' && s.to.toLowerCase().includes(p.email.toLowerCase()))
      .map((s) => ({
        ...{ from: s.from, to: s.to, subject: s.subject, message_id: s.provider_id.includes('@') ? s.provider_id : '', in_reply_to: s.in_reply_to },
        ...{ references: s.references ? s.references.split(/\s+/) : [], thread: s.thread_id, id: s.provider_id, own: false, text: s.text || s.body, at: s.at },
      })),
  ].sort((a, b) => Date.parse(a.at) - Date.parse(b.at))
  const threads = new Map<string, Mail[]>()
  for (const m of mails) {
    const name = m.thread?.split('/').at(-1) || m.id
    threads.set(name, [...(threads.get(name) ?? []), m])
  }
  return [...threads.values()].sort((a, b) => Date.parse(b.at(-1)!.at) - Date.parse(a.at(-1)!.at))
}
