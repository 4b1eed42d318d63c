import type { ComponentChildren } from 'preact'
import { useRef, useState } from 'preact/hooks'
import { Problem, sentence } from '../shared/http.ts'
import { submit, type Opened } from './edge.ts'
import { categories, check, empty, fileTypes, length, limits, priorities, type Errors, type Fields } from './fields.ts'

interface Props {
  siteKey: string
  initial?: Partial<Fields>
  onOpened(t: Opened, fields: Fields): void
}

/** The form: fields, what is wrong with them beside them, and a submission that may be repeated safely. */
export function SupportForm({ siteKey, initial, onOpened }: Props) {
  const [fields, setFields] = useState<Fields>({ ...empty, ...initial })
  const [files, setFiles] = useState<File[]>([])
  const [judged, setJudged] = useState(false) // what is wrong is told once it was to be sent
  const [refused, setRefused] = useState<Errors>({}) // by the server, until it is changed
  const [failure, setFailure] = useState('')
  const [sending, setSending] = useState(false)
  const form = useRef<HTMLFormElement>(null)
  const key = useRef(crypto.randomUUID()) // of this submission, whichever try succeeds

  const found = check(fields, files)
  const errors: Errors = judged ? { ...found, ...refused } : { attachments: found.attachments }

  const set = (name: keyof Fields) => (value: string) => {
    setFields((old) => ({ ...old, [name]: value }))
    setRefused(({ [name]: _, ...rest }) => rest)
  }

  const attach = (next: File[]) => {
    setFiles(next)
    setRefused(({ attachments: _, ...rest }) => rest)
  }

  const focusFirst = (wrong: Errors) => {
    const first = [...(form.current?.elements ?? [])].find((e) => wrong[e.getAttribute('name') as keyof Errors])
    requestAnimationFrame(() => (first as HTMLElement | undefined)?.focus())
  }

  const send = async (event: Event) => {
    event.preventDefault()
    if (sending) return
    setFailure('')
    setRefused({})
    setJudged(true)
    if (Object.keys(found).length) return focusFirst(found)
    setSending(true)
    try {
      onOpened(await submit(siteKey, key.current, fields, files), fields)
    } catch (err) {
      const p = err instanceof Problem ? err : new Problem(0, String(err))
      const wrong: Errors = Object.fromEntries(p.errors.map((e) => [e.field, sentence(e.detail)]))
      setRefused(wrong)
      focusFirst(wrong)
      if (!p.errors.length) setFailure(`${p.message} What you wrote is still here; send it again when you like.`)
    } finally {
      setSending(false)
    }
  }

  const wrong = Object.values(errors).filter(Boolean).length
  const left = limits.message - length(fields.message)
  return (
    <form ref={form} class="support-form" noValidate onSubmit={send} aria-busy={sending}>
      <p class="hint">Everything is required unless it says optional.</p>
      <div class="pair">
        <Text name="name" label="Name" autocomplete="name" value={fields.name} error={errors.name} onInput={set('name')} />
        <Text name="email" label="E-mail" type="email" autocomplete="email" value={fields.email} error={errors.email} onInput={set('email')} />
      </div>
      <Text name="phone" label="Phone" optional type="tel" autocomplete="tel" value={fields.phone} error={errors.phone} onInput={set('phone')} />
      <Text name="subject" label="Subject" value={fields.subject} error={errors.subject} onInput={set('subject')} />
      <div class="pair">
        <Field name="category" label="Category" error={errors.category}>
          <select {...control('category', errors.category)} value={fields.category} onChange={(e) => set('category')(e.currentTarget.value)}>
            <option value="" disabled>
              Choose one
            </option>
            {Object.entries(categories).map(([value, label]) => (
              <option value={value}>{label}</option>
            ))}
          </select>
        </Field>
        <fieldset class="field priorities" aria-describedby={errors.priority ? 'priority-error' : undefined}>
          <legend>Priority</legend>
          <div class="choices">
            {Object.entries(priorities).map(([value, label]) => (
              <label>
                <input type="radio" name="priority" value={value} checked={fields.priority === value} onChange={() => set('priority')(value)} />
                <span>{label}</span>
              </label>
            ))}
          </div>
          {errors.priority && <ErrorText name="priority" text={errors.priority} />}
        </fieldset>
      </div>
      <Field name="message" label="Message" error={errors.message}>
        <textarea
          {...control('message', errors.message, 'message-count')}
          rows={6}
          value={fields.message}
          onInput={(e) => set('message')(e.currentTarget.value)}
        />
        <p id="message-count" class={left < 0 ? 'count over' : 'count'}>
          {length(fields.message).toLocaleString('en')} of {limits.message.toLocaleString('en')} characters
        </p>
        <p class="unseen" role="status">
          {left < 200 ? (left < 0 ? 'The message is too long.' : `About ${Math.ceil(left / 50) * 50} characters left.`) : ''}
        </p>
      </Field>
      <Field name="attachments" label="Attachments" optional error={errors.attachments}>
        <input
          {...control('attachments', errors.attachments, 'attachments-hint')}
          type="file"
          multiple
          accept={fileTypes.join(',')}
          onChange={(e) => {
            attach([...files, ...(e.currentTarget.files ?? [])])
            e.currentTarget.value = ''
          }}
        />
        <p id="attachments-hint" class="hint">
          At most 3 files of 5 MB: PNG, JPEG, WebP, PDF or text.
        </p>
        {files.length > 0 && (
          <ul class="files">
            {files.map((f, i) => (
              <li>
                <span>
                  {f.name} <small>{size(f.size)}</small>
                </span>
                <button type="button" class="plain" aria-label={`Remove ${f.name}`} onClick={() => attach(files.filter((_, j) => j !== i))}>
                  Remove
                </button>
              </li>
            ))}
          </ul>
        )}
      </Field>
      <div class="trap" aria-hidden="true">
        <label>
          Website <input name="website" tabIndex={-1} autocomplete="off" value={fields.website} onInput={(e) => set('website')(e.currentTarget.value)} />
        </label>
      </div>
      <div role="alert" class="failure">
        {failure || (wrong > 0 && (wrong === 1 ? 'One field needs another look.' : `${wrong} fields need another look.`))}
      </div>
      <button type="submit" class="primary" aria-disabled={sending}>
        {sending ? 'Sending…' : 'Send'}
      </button>
    </form>
  )
}

const id = (name: string) => `support-${name}`

/** What a control needs so that its label, its error and its hints are read with it. */
function control(name: string, error?: string, hints = '') {
  return {
    id: id(name),
    name,
    'aria-invalid': error ? ('true' as const) : undefined,
    'aria-describedby': [error && `${name}-error`, hints].filter(Boolean).join(' ') || undefined,
  }
}

interface FieldProps {
  name: string
  label: string
  optional?: boolean
  error?: string | undefined
}

function Field({ name, label, optional, error, children }: FieldProps & { children: ComponentChildren }) {
  return (
    <div class="field">
      <label for={id(name)}>
        {label} {optional && <span class="optional">(optional)</span>}
      </label>
      {children}
      {error && <ErrorText name={name} text={error} />}
    </div>
  )
}

interface TextProps extends FieldProps {
  type?: 'text' | 'email' | 'tel'
  autocomplete?: 'name' | 'email' | 'tel' | 'off'
  value: string
  onInput(value: string): void
}

function Text({ type = 'text', autocomplete = 'off', value, onInput, ...field }: TextProps) {
  return (
    <Field {...field}>
      <input
        {...control(field.name, field.error)}
        type={type as 'text'}
        autocomplete={autocomplete}
        aria-required={!field.optional}
        value={value}
        onInput={(e) => onInput(e.currentTarget.value)}
      />
    </Field>
  )
}

function ErrorText({ name, text }: { name: string; text: string }) {
  return (
    <p id={`${name}-error`} class="error">
      {text}
    </p>
  )
}

function size(bytes: number): string {
  return bytes < 1 << 20 ? `${Math.ceil(bytes / 1024)} KB` : `${(bytes / (1 << 20)).toFixed(1)} MB`
}
