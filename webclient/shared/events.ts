import { ask } from './http.ts'

/** A server-sent event. */
export interface Event {
  id: string
  type: string
  data: string
}

/** Silence after which a stream counts as dead; the server's heartbeat comes every 15 s. */
const silence = 40_000

/**
 * Reads server-sent events by fetch, since EventSource can send no Authorization
 * header. It returns when the stream ends and throws when it breaks or falls silent.
 */
export async function listen(
  path: string,
  options: { headers: Record<string, string>; lastId?: string; signal: AbortSignal },
  on: { open?(): void; event(e: Event): void },
): Promise<void> {
  const stop = new AbortController()
  const forward = () => stop.abort()
  options.signal.addEventListener('abort', forward)
  let watch = setTimeout(forward, silence)
  try {
    const headers = { ...options.headers, Accept: 'text/event-stream', ...(options.lastId && { 'Last-Event-ID': options.lastId }) }
    const answer = await ask(path, { headers, signal: stop.signal })
    on.open?.()
    const parse = parser(on.event)
    const text = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
    for (;;) {
      const { done, value } = await text.read()
      if (done) return
      clearTimeout(watch)
      watch = setTimeout(forward, silence)
      parse(value)
    }
  } finally {
    clearTimeout(watch)
    options.signal.removeEventListener('abort', forward)
  }
}

/** Takes pieces of a stream and calls back at each event (html.spec.whatwg.org, event stream). */
export function parser(on: (e: Event) => void): (piece: string) => void {
  let rest = ''
  let id = ''
  let type = ''
  let data: string[] = []
  return (piece) => {
    const lines = (rest + piece).split(/\r\n|\n|\r(?!$)/)
    rest = lines.pop()!
    for (const line of lines) {
      if (line === '') {
        if (data.length) on({ id, type: type || 'message', data: data.join('\n') })
        type = ''
        data = []
        continue
      }
      const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line)!
      if (field === 'data') data.push(value!)
      else if (field === 'event') type = value!
      else if (field === 'id') id = value!
    }
  }
}
