import { useRef, useState } from 'preact/hooks'
import { Problem } from '../shared/http.ts'
import { ticket, type Opened } from './edge.ts'

/**
 * Offers to prove the e-mail address by a code. Before that the address is only
 * said, so nothing of an earlier conversation and no link is shown.
 */
export function Verify({ opened }: { opened: Opened }) {
  const [stage, setStage] = useState<'offer' | 'code' | 'proved'>('offer')
  const [sent, setSent] = useState('')
  const [code, setCode] = useState('')
  const [linkPage, setLinkPage] = useState('')
  const [error, setError] = useState('')
  const input = useRef<HTMLInputElement>(null)

  const attempt = async (what: () => Promise<void>) => {
    setError('')
    try {
      await what()
    } catch (err) {
      setError(err instanceof Problem ? err.message : String(err))
    }
  }

  const offer = () =>
    attempt(async () => {
      setSent((await ticket.verify(opened))?.message ?? '')
      setStage('code')
      requestAnimationFrame(() => input.current?.focus())
    })

  const confirm = (event: Event) => {
    event.preventDefault()
    void attempt(async () => {
      const digits = code.replace(/[\s-]/g, '')
      if (!/^\d{6}$/.test(digits)) throw new Problem(422, 'The code has six digits.')
      const answer = await ticket.confirm(opened, digits)
      if (!answer.verified) throw new Problem(422, 'That was not the code.')
      setLinkPage(sameScheme(answer.link_page))
      setStage('proved')
    })
  }

  return (
    <section class="verify" aria-label="Verify your e-mail">
      {stage === 'offer' && (
        <>
          <p>Wrote to us before? Verify your e-mail address to continue your earlier conversation.</p>
          <button type="button" onClick={offer}>
            Verify my e-mail
          </button>
        </>
      )}
      {stage === 'code' && (
        <form noValidate onSubmit={confirm}>
          <p>{sent}</p>
          <label for="verify-code">The code of six digits</label>
          <div class="row">
            <input
              ref={input}
              id="verify-code"
              name="code"
              inputMode="numeric"
              autocomplete="one-time-code"
              value={code}
              aria-invalid={error ? 'true' : undefined}
              aria-describedby={error ? 'verify-error' : undefined}
              onInput={(e) => setCode(e.currentTarget.value)}
            />
            <button type="submit">Confirm</button>
            <button type="button" class="plain" onClick={offer}>
              Send a new code
            </button>
          </div>
        </form>
      )}
      <div role="status">
        {stage === 'proved' && (
          <p>
            Your e-mail address is verified.{' '}
            {linkPage && (
              <a href={linkPage} rel="noopener" target="_blank">
                Continue on WhatsApp
              </a>
            )}
          </p>
        )}
      </div>
      <div role="alert">
        {error && (
          <p id="verify-error" class="error">
            {error}
          </p>
        )}
      </div>
    </section>
  )
}

/** The page's address, if it is one that a browser may be sent to. */
function sameScheme(address = ''): string {
  try {
    return /^https?:$/.test(new URL(address, location.href).protocol) ? address : ''
  } catch {
    return ''
  }
}
