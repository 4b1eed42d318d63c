/** A refusal as the server words it (RFC 9457), or a failure to reach it (status 0). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    detail: string,
    /** What is wrong with which field, of a 422. */
    readonly errors: readonly FieldError[] = [],
  ) {
    super(sentence(detail))
  }

  /** The same request may succeed later. */
  get passing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500
  }
}

/** The server's words as a sentence of the page. */
export function sentence(text: string): string {
  const t = text.charAt(0).toUpperCase() + text.slice(1)
  return /[.!?…]$/.test(t) ? t : `${t}.`
}

export interface FieldError {
  field: string
  detail: string
}

export interface Request {
  method?: string
  headers?: Record<string, string>
  /** Sent as JSON, unless it is text or a form. */
  body?: unknown
  signal?: AbortSignal
}

/** Asks and returns the answer if it is a success; throws Problem otherwise. */
export async function ask(path: string, request: Request = {}): Promise<Response> {
  const { method = 'GET', body, signal } = request
  const headers = new Headers(request.headers)
  const init: RequestInit = { method, headers, cache: 'no-cache', credentials: 'omit', ...(signal && { signal }) }
  if (typeof body === 'string' || body instanceof FormData || body instanceof URLSearchParams) {
    init.body = body
  } else if (body !== undefined) {
    headers.set('Content-Type', 'application/json')
    init.body = JSON.stringify(body)
  }
  let answer: Response
  try {
    answer = await fetch(path, init)
  } catch (err) {
    if (signal?.aborted) throw err
    throw new Problem(0, 'The server cannot be reached just now.')
  }
  if (!answer.ok) throw await problem(answer)
  return answer
}

/** Asks for JSON. An answer without a body is undefined. */
export async function json<T>(path: string, request?: Request): Promise<T> {
  const text = await (await ask(path, request)).text()
  return (text ? JSON.parse(text) : undefined) as T
}

async function problem(answer: Response): Promise<Problem> {
  const said = (await answer.json().catch(() => ({}))) as { detail?: string; errors?: FieldError[] }
  return new Problem(answer.status, said.detail ?? `The server answered ${answer.status}.`, said.errors ?? [])
}

/** Resolves after some milliseconds, or when the signal aborts. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(finish, ms)
    signal?.addEventListener('abort', finish)
    function finish() {
      clearTimeout(timer)
      signal?.removeEventListener('abort', finish)
      done()
    }
  })
}
