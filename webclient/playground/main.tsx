import { render } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { pause } from '../shared/http.ts'
import { Actor } from './actor.tsx'
import { Api } from './api.ts'
import { Chat } from './chat.tsx'
import { Havoc } from './havoc.tsx'
import { Mailbox } from './mail.tsx'
import { Members } from './members.tsx'
import { channels, first, people, type Channel, type Person } from './people.ts'
import { PersonDesk } from './person.tsx'
import { Choice, Identity, Pace } from './pick.tsx'
import { Notebook } from './store.ts'
import { form, mail, whatsapp, type Written } from './vendors.ts'
import { WebForm } from './web.tsx'
import { nothing, Watch, type World } from './world.ts'
import '../shared/base.css'
import './playground.css'

function Playground({ api }: { api: Api }) {
  const [crowd, setCrowd] = useState(people)
  const [who, setWho] = useState(people[0]!.id)
  const [channel, setChannel] = useState<Channel>(people[0]!.usual)
  const [world, setWorld] = useState<World>(nothing)
  const [error, setError] = useState('')
  const [, redraw] = useState(0)
  const notebook = useRef(new Notebook(api.session.operator_token.slice(0, 8))).current
  const watch = useRef<Watch | undefined>(undefined)
  const person = crowd.find((p) => p.id === who)!
  const written = notebook.of(person, channel)

  useEffect(() => {
    const stop = new AbortController()
    watch.current = new Watch(api, { person, channel }, setWorld)
    void watch.current.run(stop.signal)
    return () => stop.abort()
  }, [])
  const refresh = () => watch.current?.look({ person, channel })
  useEffect(refresh, [person, channel])

  const note = (w: Written) => {
    notebook.add(person, w)
    redraw((n) => n + 1)
    refresh()
    return w
  }
  const write = async (text: string) => {
    const speak = { whatsapp, webform: form, email: (a: Api, p: Person, t: string) => mail(a, p, t, t) }[channel]
    return note(await speak(api, person, text))
  }

  return (
    <>
      <header class="top">
        <h1>Playground</h1>
        <p>
          Every customer has one actor, on one of these workers, for all channels; what it decides is in Postgres before anything leaves. So kill any of them while it answers: the customer gets one
          answer all the same.
        </p>
      </header>
      <p class="away" role="alert">
        {world.away || error}
      </p>
      <section aria-label="Processes">
        <Members api={api} world={world} who={first(person)} onError={setError} />
      </section>
      <Havoc api={api} person={person} channel={channel} write={write} />
      <div class="columns">
        <section class="side customer" aria-labelledby="customer-heading">
          <h2 id="customer-heading">The customer</h2>
          <Choice
            name="Customer"
            options={Object.fromEntries(crowd.map((p) => [p.id, p.name]))}
            value={who}
            onChoose={(id) => {
              setWho(id)
              setChannel(crowd.find((p) => p.id === id)!.usual)
            }}
          />
          <p class="hint">
            {person.name} {person.about}: {person.email}, {person.phone}
          </p>
          {who === 'you' && <Identity person={person} onChange={(change) => setCrowd((all) => all.map((p) => (p.id === who ? { ...p, ...change } : p)))} />}
          <Choice name="Channel" options={channels} value={channel} onChoose={(c) => setChannel(c as Channel)} />
          {channel === 'whatsapp' && <Chat api={api} person={person} written={written} messages={world.messages} sent={world.sent} onWrite={async (text) => void note(await whatsapp(api, person, text))} />}
          {channel === 'email' && <Mailbox api={api} person={person} mails={world.mails} onWrite={async (...m) => void note(await mail(api, person, ...m))} />}
          {channel === 'webform' && <WebForm key={person.id} api={api} person={person} written={written} onWritten={note} />}
        </section>
        <section class="side" aria-labelledby="actor-heading">
          <h2 id="actor-heading">{first(person)}’s actor</h2>
          <p class="hint">
            Known by {channel === 'whatsapp' ? `the number ${person.phone}` : `the address ${person.email}`}. A number and an address become one customer only once both are proved to be the same person’s.
          </p>
          <Pace api={api} />
          {world.customer && <PersonDesk key={world.customer.id} api={api} customer={world.customer} channel={channel} who={first(person)} refresh={refresh} />}
          <Actor world={world} who={first(person)} />
        </section>
      </div>
    </>
  )
}

/** Asks for the session until the program answers. */
function Begin() {
  const [api, setApi] = useState<Api>()
  const [why, setWhy] = useState('')
  useEffect(() => {
    const stop = new AbortController()
    void (async () => {
      while (!stop.signal.aborted) {
        try {
          return setApi(await Api.open())
        } catch (err) {
          setWhy(err instanceof Error ? err.message : String(err))
          await pause(2_000, stop.signal)
        }
      }
    })()
    return () => stop.abort()
  }, [])
  return <main>{api ? <Playground api={api} /> : <p class="away" role="alert">{why}</p>}</main>
}

render(<Begin />, document.getElementById('page')!)
