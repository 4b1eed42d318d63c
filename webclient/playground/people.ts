/** A channel as the program names it. */
export type Channel = 'whatsapp' | 'email' | 'webform'

export const channels: Record<Channel, string> = { whatsapp: 'WhatsApp', email: 'E-mail', webform: 'Web form' }

/** How one writes on a channel, and who delivers what is written back. */
export const ways: Record<Channel, { by: string; list: string }> = {
  whatsapp: { by: 'on WhatsApp', list: 'in WhatsApp’s own list of what it delivered' },
  email: { by: 'by e-mail', list: 'in the mail server’s own list of what it delivered' },
  webform: { by: 'through the web form', list: 'in the ticket that the customer sees' },
}

/** Somebody who writes to support. */
export interface Person {
  id: string
  name: string
  email: string
  phone: string // E.164
  about: string
  usual: Channel
}

// Addresses of documentation ranges: nobody has them (RFC 2606, 555-01xx).
export const people: Person[] = [
  { id: 'ana', name: 'Ana Silva', email: 'ana.silva@example.com', phone: '+12025550143', about: 'writes on WhatsApp, sometimes by e-mail', usual: 'whatsapp' },
  { id: 'ben', name: 'Ben Okafor', email: 'ben.okafor@example.org', phone: '+12025550172', about: 'found the web form', usual: 'webform' },
  { id: 'chen', name: 'Chen Wei', email: 'chen.wei@example.net', phone: '+12025550118', about: 'prefers e-mail', usual: 'email' },
  { id: 'you', name: 'You', email: 'you@example.com', phone: '+12025550199', about: 'may be whoever you like', usual: 'whatsapp' },
]

/** Things customers ask; each has an answer in the knowledge base. */
export const questions = [
  'How do I reset my password?',
  'How can I invite people to my team?',
  'How do I export my boards?',
  'How do I turn on two-factor authentication?',
  'How do I connect Slack?',
]

/** The person's first name. */
export const first = (p: Person) => p.name.split(' ')[0]!
