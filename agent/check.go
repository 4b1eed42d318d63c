package agent

import (
	"regexp"
	"strings"
	"unicode"

	"fte/support"
)

// checks are what every outgoing text must pass, channels.md LL-10.
type checks struct {
	rivals *regexp.Regexp // nil: none are configured
	links  []string
	known  map[string]bool // contacts of ours, folded
	secret map[string]bool // runs of secretRun words of the system prompt
}

const secretRun = 20

var (
	money    = regexp.MustCompile(`(?i)[$€£₹¥]\s?\d|\b\d+([.,]\d+)?\s?(usd|eur|gbp|inr|jpy|dollars?|euros?|pounds?|cents?)\b|\b(usd|eur|gbp|inr)\s?\d|\bfree of charge\b|\d\s?%\s?(off|discount)|\b(for|at) no (extra |additional )?(cost|charge)\b`)
	payBack  = regexp.MustCompile(`\b(refund\w*|reimburs\w*|compensat\w*|money[- ]?back|charge ?-?backs?|goodwill (credit|gesture)|(store|account|service) credits?|credit(ed)? (to )?your account|rembours\w*|ruckerstatt\w*|erstattung\w*|reembols\w*|rimbors\w*|terugbetal\w*|estorno|geri odeme)\b|استرداد|रिफंड|返金|退款`)
	promise  = regexp.MustCompile(`\b(coming soon|on (our|the) roadmap|will (soon )?be (released|available|added|shipped|launched)|we('re| are) (going to|about to) (add|build|release|launch|ship)|we('ll| will) (add|build|release|launch|ship) )`)
	workings = regexp.MustCompile(`\b(as an ai language model|my (system|developer) prompt|system prompt|search_knowledge_base|create_ticket|get_customer_history|get_ticket_status|escalate_to_human|request_identity_verification|send_response)\b|<\s*/?\s*untrusted`)
	image    = regexp.MustCompile(`!\[[^\]]*\]\(|<img\b`)
	link     = regexp.MustCompile(`(?i)\b(?:[a-z][a-z0-9+.-]*://|www\.)[^\s<>"'\])]+|\b(?:[a-z0-9-]+\.)+(?:com|net|org|io|ai|app|dev|co|info|biz|xyz|me|ru|cn|de|uk|eu|link|site|online|shop|top|zip|example|test)\b(?:/[^\s<>"'\])]*)?|\]\(\s*[^)\s]+`)
	mailAddr = regexp.MustCompile(`(?i)[\p{L}\p{N}._%+'-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)+`)
	phoneish = regexp.MustCompile(`\+?\d[\d\s().\-/]{6,}\d`)
	isoDate  = regexp.MustCompile(`\b\d{4}-\d{2}-\d{2}\b`)
	refLike  = regexp.MustCompile(`\bT-[0-9A-HJKMNP-TV-Z]{12}\b`)
)

func newChecks(cfg Config, system string) *checks {
	c := &checks{links: cfg.Links, known: map[string]bool{}, secret: map[string]bool{}}
	var names []string
	for _, r := range cfg.Rivals {
		names = append(names, regexp.QuoteMeta(normal(r)))
	}
	if len(names) > 0 {
		c.rivals = regexp.MustCompile(`(?:^|[^\p{L}\p{N}])(?:` + strings.Join(names, "|") + `)(?:[^\p{L}\p{N}]|$)`)
	}
	for _, k := range cfg.Contacts {
		c.known[contact(k)] = true
	}
	for _, run := range runs(system) {
		c.secret[run] = true
	}
	return c
}

// contact folds an address or number for comparison.
func contact(s string) string {
	s = strings.TrimPrefix(strings.ToLower(s), "whatsapp:")
	if strings.Contains(s, "@") {
		return s
	}
	return digits(s)
}

func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
}

// runs are all runs of secretRun words in text.
func runs(text string) []string {
	words := strings.FieldsFunc(normal(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) })
	var all []string
	for i := 0; i+secretRun <= len(words); i++ {
		all = append(all, strings.Join(words[i:i+secretRun], " "))
	}
	return all
}

// allowed is what a turn's texts may hold beyond the constant rules.
type allowed struct {
	snippets   []string        // approved text: what stands there word for word may be repeated
	contacts   map[string]bool // the customer's own addresses, folded
	references map[string]bool
	link       string // our own page that the turn offers, whole
}

func allowedIn(in support.TurnInput) allowed {
	al := allowed{contacts: map[string]bool{}, references: map[string]bool{in.Ticket.Reference: true}, link: in.Link}
	for _, m := range in.Inputs {
		for _, s := range []string{m.From.Value, m.Envelope.ReplyTo} {
			if s != "" {
				al.contacts[contact(s)] = true
			}
		}
	}
	return al
}

// quotes says whether approved text holds s.
func (al allowed) quotes(s string) bool {
	for _, t := range al.snippets {
		if strings.Contains(t, s) {
			return true
		}
	}
	return false
}

// violation says what is wrong with an outgoing text; empty: nothing.
func (c *checks) violation(text string, al allowed) string {
	s := normal(text)
	for _, m := range money.FindAllString(text, -1) {
		if !al.quotes(m) {
			return "it names a price"
		}
	}
	switch {
	case payBack.MatchString(s):
		return "it speaks of paying back"
	case promise.MatchString(s):
		return "it promises what does not exist yet"
	case workings.MatchString(s):
		return "it tells how the assistant works inside"
	case image.MatchString(text):
		return "it holds an image"
	case c.rivals != nil && c.rivals.MatchString(s):
		return "it names another company's product"
	}
	for _, m := range refLike.FindAllString(text, -1) {
		if !al.references[m] {
			return "it names a ticket that is not this customer's"
		}
	}
	bare := refLike.ReplaceAllString(text, " ")
	for _, m := range mailAddr.FindAllString(bare, -1) {
		if k := contact(strings.TrimRight(m, ".")); !c.known[k] && !al.contacts[k] {
			return "it holds a mail address that is neither ours nor the customer's"
		}
	}
	bare = mailAddr.ReplaceAllString(bare, " ")
	for _, m := range link.FindAllString(bare, -1) {
		if !c.linkable(m) && (al.link == "" || strings.TrimRight(m, ".,;:!?") != al.link) {
			return "it holds a link that is not ours"
		}
	}
	for _, m := range phoneish.FindAllString(isoDate.ReplaceAllString(link.ReplaceAllString(bare, " "), " "), -1) {
		if d := digits(m); len(d) >= 8 && !c.known[d] && !al.contacts[d] && !al.quotes(m) {
			return "it holds a phone number that is neither ours nor the customer's"
		}
	}
	for _, run := range runs(text) {
		if c.secret[run] {
			return "it repeats the assistant's instructions"
		}
	}
	return ""
}

// linkable says whether a link leads to a host of ours.
func (c *checks) linkable(m string) bool {
	m = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(m, "](")))
	if scheme, rest, ok := strings.Cut(m, "://"); ok {
		if scheme != "https" {
			return false
		}
		m = rest
	}
	host := strings.TrimPrefix(strings.TrimRight(m[:strings.IndexFunc(m+"/", func(r rune) bool { return strings.ContainsRune("/?#:", r) })], "."), "www.")
	if strings.Contains(host, "@") || strings.Contains(m, "@") {
		return false
	}
	for _, h := range c.links {
		if host == h || strings.HasSuffix(host, "."+h) {
			return true
		}
	}
	return false
}
