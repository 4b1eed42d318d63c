import { render } from 'preact'
import { useState } from 'preact/hooks'
import type { Opened } from './edge.ts'
import { SupportForm } from './form.tsx'
import { forget, recall, remember } from './kept.ts'
import { TicketView } from './ticket.tsx'
import '../shared/base.css'
import './form.css'

const siteKey = document.querySelector<HTMLMetaElement>('meta[name="site-key"]')?.content ?? 'dev'

function Page() {
  const [opened, setOpened] = useState<Opened | undefined>(recall)
  return (
    <main>
      <h1>Contact support</h1>
      {opened ? (
        <TicketView
          opened={opened}
          onAnother={() => {
            forget()
            setOpened(undefined)
          }}
        />
      ) : (
        <>
          <p>Write to us at any hour. An assistant (AI) answers first; a person takes over whenever that is better.</p>
          <SupportForm
            siteKey={siteKey}
            onOpened={(t) => {
              remember(t)
              setOpened(t)
            }}
          />
        </>
      )}
    </main>
  )
}

render(<Page />, document.getElementById('page')!)
