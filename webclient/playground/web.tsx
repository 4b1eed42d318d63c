import { useState } from 'preact/hooks'
import { SupportForm } from '../form/form.tsx'
import { TicketView } from '../form/ticket.tsx'
import type { Api } from './api.ts'
import type { Person } from './people.ts'
import { filed, type Written } from './vendors.ts'

interface Props {
  api: Api
  person: Person
  written: Written[]
  onWritten(w: Written): void
}

/** The support form as a website would show it, then the ticket it opened. */
export function WebForm({ api, person, written, onWritten }: Props) {
  const tickets = written.filter((w) => w.opened)
  const [chosen, setChosen] = useState<string>()
  const [fresh, setFresh] = useState(false)
  const shown = fresh ? undefined : (tickets.find((w) => w.external_id === chosen) ?? tickets.at(-1))
  return (
    <section class="web" aria-label={`Web form of ${person.name}`}>
      {tickets.length > 0 && (
        <div class="row" role="group" aria-label="Tickets of this browser">
          {tickets.slice(-4).map((w) => (
            <button
              type="button"
              key={w.external_id}
              aria-pressed={w === shown}
              onClick={() => {
                setChosen(w.external_id)
                setFresh(false)
              }}
            >
              {w.opened!.reference}
            </button>
          ))}
          <button type="button" aria-pressed={fresh} onClick={() => setFresh(true)}>
            New
          </button>
        </div>
      )}
      {shown?.opened ? (
        <TicketView key={shown.external_id} quiet opened={shown.opened} onAnother={() => setFresh(true)} />
      ) : (
        <SupportForm
          siteKey={api.session.site_key}
          initial={{ name: person.name, email: person.email, category: 'technical' }}
          onOpened={(opened, fields) => {
            onWritten(filed(opened, fields.message))
            setChosen(opened.ticket_id)
            setFresh(false)
          }}
        />
      )}
    </section>
  )
}
