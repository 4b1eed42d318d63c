import { useState } from 'preact/hooks'
import type { Api, Mail } from './api.ts'
import { clock } from './actor.tsx'
import { first, type Person } from './people.ts'
import type { Answered } from './vendors.ts'

interface Props {
  api: Api
  person: Person
  mails: Mail[]
  onWrite(subject: string, text: string, answers?: Answered): Promise<void>
}

/** The customer's mailbox, thread by thread, with the headers that make the threads. */
export function Mailbox({ api, person, mails, onWrite }: Props) {
  const threads = threaded(mails)
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
          const last = replying ? newest.at(-1) : undefined
          await onWrite(subject, text, last && { id: header(last, 'Message-ID'), references: header(last, 'References') })
          setFresh(false)
        }}
      />
      {threads.length === 0 && <p class="empty">An empty mailbox. Write to {api.session.mailbox}, as {first(person)} would.</p>}
      {threads.map((thread) => (
        <article class="mail-thread" key={thread[0]!.thread_id}>
          <h3>{bare(thread[0]!.subject) || '(no subject)'}</h3>
          {thread.map((m) => (
            <MailView key={m.id} mail={m} />
          ))}
        </article>
      ))}
    </section>
  )
}

/** What a mail program would show, and what makes it stand where it stands. */
const shown = ['From', 'To', 'Subject', 'Message-ID', 'In-Reply-To', 'References', 'X-FTE-Key']

function MailView({ mail: m }: { mail: Mail }) {
  return (
    <div class={m.direction === 'in' ? 'mail own' : 'mail'}>
      <dl>
        {shown
          .filter((name) => header(m, name))
          .map((name) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{header(m, name)}</dd>
            </div>
          ))}
        <div>
          <dt>Arrived</dt>
          <dd>{clock(m.at)}</dd>
        </div>
      </dl>
      <p>{m.text}</p>
    </div>
  )
}

const header = (m: Mail, name: string) => m.headers.find((h) => h.name.toLowerCase() === name.toLowerCase())?.value ?? ''

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

/** The threads of mails, the newest first, each in order. */
function threaded(mails: Mail[]): Mail[][] {
  const threads = new Map<string, Mail[]>()
  for (const m of mails) threads.set(m.thread_id, [...(threads.get(m.thread_id) ?? []), m])
  return [...threads.values()].sort((a, b) => b.at(-1)!.n - a.at(-1)!.n)
}
