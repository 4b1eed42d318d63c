/** What the form asks for, with the limits that the server holds too (product.md "Web form"). */
export interface Fields {
  name: string
  email: string
  phone: string
  subject: string
  category: string
  priority: string
  message: string
  /** A trap: people do not see it, robots fill it. */
  website: string
}

export type Errors = { [name in keyof Fields | 'attachments']?: string | undefined }

export const empty: Fields = { name: '', email: '', phone: '', subject: '', category: '', priority: 'medium', message: '', website: '' }

export const categories: Record<string, string> = {
  general: 'General question',
  technical: 'Technical problem',
  billing: 'Billing',
  bug_report: 'Bug report',
  feedback: 'Feedback',
}

export const priorities: Record<string, string> = { low: 'Low', medium: 'Medium', high: 'High' }

export const limits = { message: 5000, files: 3, fileBytes: 5 << 20 }

/** What an attachment may end in; the server looks inside as well. */
export const fileTypes = ['.png', '.jpg', '.jpeg', '.webp', '.pdf', '.txt']

/** Length in characters as people count them, near enough: code points of the trimmed text. */
export function length(text: string): number {
  return [...text.trim()].length
}

/** Says what must be mended before the fields can be sent; empty when nothing. */
export function check(f: Fields, files: readonly File[]): Errors {
  const e: Errors = {}
  if (length(f.name) < 2) e.name = 'Enter your name, at least 2 characters.'
  else if (length(f.name) > 100) e.name = 'Keep your name within 100 characters.'
  if (!/^[^\s@]+@[^\s@.]+(\.[^\s@.]+)+$/.test(f.email.trim()) || length(f.email) > 254) {
    e.email = 'Enter an e-mail address such as name@example.com.'
  }
  if (f.phone.trim() && (length(f.phone) > 32 || !/^\+?[\d\s().-]{6,}$/.test(f.phone.trim()))) {
    e.phone = 'Enter a phone number such as +1 202 555 0143, or leave it empty.'
  }
  if (length(f.subject) < 5) e.subject = 'Say in at least 5 characters what it is about.'
  else if (length(f.subject) > 200) e.subject = 'Keep the subject within 200 characters.'
  if (!(f.category in categories)) e.category = 'Choose a category.'
  if (!(f.priority in priorities)) e.priority = 'Choose a priority.'
  if (length(f.message) < 10) e.message = 'Tell us a little more: at least 10 characters.'
  else if (length(f.message) > limits.message) {
    e.message = `Shorten the message by ${(length(f.message) - limits.message).toLocaleString('en')} characters.`
  }
  const wrong = wrongFiles(files)
  if (wrong) e.attachments = wrong
  return e
}

function wrongFiles(files: readonly File[]): string | undefined {
  if (files.length > limits.files) return `Attach at most ${limits.files} files.`
  for (const f of files) {
    if (f.size > limits.fileBytes) return `“${f.name}” is larger than 5 MB.`
    if (!fileTypes.some((end) => f.name.toLowerCase().endsWith(end))) return `“${f.name}” is not a PNG, JPEG, WebP, PDF or text file.`
  }
  return undefined
}
