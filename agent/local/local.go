// Package local is a model without a vendor: rules and retrieval. It plays the
// same tool calls as any other, so that journaling, limits and checks are
// exercised, and answers from the knowledge base word for word.
package local

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"fte/agent"
	"fte/support"
)

// Model is the deterministic provider. Its zero value is ready.
type Model struct{}

// Name implements agent.Model.
func (Model) Name() string { return "local" }

var (
	greeting  = regexp.MustCompile(`(?i)^\W*(hi|hello|hey|good (morning|afternoon|evening)|hola|bonjour|hallo|ciao|ol[aá]|salut|guten (tag|morgen)|merhaba|cześć|dzień dobry|你好|こんにちは|नमस्ते|مرحبا)( there| team| all| support| everyone)?\W*$`)
	thanks    = regexp.MustCompile(`(?i)^\W*((ok|okay|great|perfect|super|cool|awesome|nice|yes|it works|that works|works( now)?|solved|got it)\W*)*(thanks?|thank you|thx|ty|many thanks|cheers|danke|merci|gracias|grazie|obrigad[oa]|bedankt|dank je|dziękuję|teşekkürler|谢谢|ありがとう|धन्यवाद|شكرا)([ ,!.]+(so much|a lot|very much|you|again|for (your|the) help|that (helped|worked)))*\W*$`)
	reference = regexp.MustCompile(`(?i)\bT-[0-9A-HJKMNP-TV-Z]{12}\b`)
	pleased   = regexp.MustCompile(`^\W*[👍👌🙏✅🎉😀😃😄😁😊🙂❤💙💚♥☺][\W\x{1F3FB}-\x{1F3FF}]*$`)
	yes       = regexp.MustCompile(`(?i)^\W*(yes|yep|yeah|ja|oui|s[ií]|sim|tak|evet|ok|okay|sure|i have|i did)( i (have|did)| please)?\W*$`)
	no        = regexp.MustCompile(`(?i)^\W*(no|nope|nein|non|não|nie|hayır|never|not yet|first time|i haven['’]?t|i have not)(\W+(i (have|did)(n['’]?t| not)|it'?s (the|my) first time|(the |my )?first time|never|thanks?|thank you))*\W*$`)
	verifying = regexp.MustCompile(`(?i)(?:\b(?:my|the|an?) (?:old |other |work |private )?(?:e-?mail|mail)(?: address)? (?:is|was|would be)|\bi (?:wrote|write|mailed|e-?mailed|contacted)(?: to)? you (?:\w+ )?(?:from|with|under|as)|\b(?:wrote|mailed) from|\b(?:my|the) address is|\bit(?:'|’)?s|\bit is|^\W*(?:yes|yep|yeah|sure|ok(?:ay)?)?[\s,.:!-]*)[\s:]*<?([^\s<>,;:]+@[^\s<>,;:]+\.\p{L}{2,})>?`)
)

// Complete implements agent.Model. It asks at most two searches and never fails.
func (m Model) Complete(ctx context.Context, req agent.Request) (agent.Response, error) {
	if err := ctx.Err(); err != nil {
		return agent.Response{}, err
	}
	call := m.next(req)
	n := 0
	for _, it := range req.Items {
		if it.Kind == agent.ItemCall {
			n++
		}
	}
	call.ID = fmt.Sprintf("local_%d", n+1)
	return agent.Response{Model: m.Name(), Calls: []agent.Call{call}}, nil
}

// next is the call that follows from what was asked and what tools have said.
func (m Model) next(req agent.Request) agent.Call {
	q := strings.TrimSpace(req.Question)
	done := results(req.Items)
	switch {
	case greeting.MatchString(q):
		return say("How can I help you today?")
	case thanks.MatchString(q):
		return say("You are welcome. Write again whenever you need something.")
	case pleased.MatchString(q):
		return say("Thank you. Write again whenever you need something.")
	case !strings.ContainsFunc(q, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }):
		return say("How can I help you? Tell me in a sentence.")
	case yes.MatchString(q):
		return say("Good. Tell me what you need, or the e-mail address you wrote from before.")
	case no.MatchString(q):
		return say("All right. Write again whenever you need something.")
	}
	if ref := reference.FindString(q); ref != "" {
		status, asked := done["get_ticket_status"]
		if !asked {
			return call("get_ticket_status", map[string]any{"reference": strings.ToUpper(ref)})
		}
		var t struct{ Reference, Status, Opened string }
		if json.Unmarshal([]byte(status[0]), &t) == nil && t.Status != "" {
			return say(fmt.Sprintf("Ticket %s, opened on %s, is %s.", t.Reference, t.Opened, t.Status))
		}
		return say("I cannot find a ticket with that reference among yours. Please check it, or tell me what it was about.")
	}
	if mail := verifying.FindStringSubmatch(q); mail != nil {
		said, asked := done["request_identity_verification"]
		if !asked {
			return call("request_identity_verification", map[string]any{"kind": "email", "value": strings.ToLower(mail[1])})
		}
		rest := strings.TrimSpace(verifying.ReplaceAllString(q, " "))
		switch {
		case len(strings.Fields(rest)) >= 4: // a question came with it
			return m.lookUp(req, rest, done["search_knowledge_base"], onItsWay, len(done["send_response"]) > 0)
		case strings.Contains(said[0], `"error"`):
			return say("That does not look like a mail address. Please check it and write it once more.")
		}
		return say(onItsWay + " Follow its link, and I can see what you wrote to us before.")
	}
	return m.lookUp(req, q, done["search_knowledge_base"], "", len(done["send_response"]) > 0)
}

// onItsWay is all that is said of an address that a customer names: the same
// whether it is known here or not.
const onItsWay = "Thank you. If that address can be reached, a mail to confirm it is on its way there."

// lookUp searches, once with the whole text and once with its core, and answers
// from the best passage, behind what is to be said first.
func (m Model) lookUp(req agent.Request, q string, found []string, first string, rejected bool) agent.Call {
	if len(found) == 0 {
		return search(q)
	}
	best := passages(found[len(found)-1])
	if len(best) == 0 {
		if len(found) == 1 {
			return search(core(q))
		}
		return escalate()
	}
	if rejected { // what was refused is not sent again
		return escalate()
	}
	if first != "" {
		first += " "
	}
	return say(first + answer(req, best, q, agent.Units(req.Channel, first)))
}

// How similar a further passage must be that a mail has besides the best one.
const alsoAt = 0.6

// answer is the best passage as the channel wants it: as short as was asked,
// longer where that would cut a sentence. A mail is detailed: what else the same
// article says of the question follows. taken units are spoken for.
func answer(req agent.Request, found []passage, q string, taken int) string {
	best := found[0]
	source, limit := "\n\nYou find this in our help centre under “"+best.Title+"”.", 300
	switch req.Channel {
	case support.WhatsApp:
		source, limit = "", 190
	case support.WebForm:
		limit = 180
	}
	taken += agent.Units(req.Channel, source)
	within := func(said int) int {
		if said > 0 { // 0: a request that does not say
			return min(limit, said-taken)
		}
		return limit
	}
	text := agent.Excerpt(req.Channel, best.Text, q, within(req.Aim))
	if text == "" || strings.HasSuffix(text, "…") {
		text = agent.Excerpt(req.Channel, best.Text, q, within(req.Room))
	}
	for _, p := range found[1:] {
		longer := text + "\n\n" + p.Heading + ": " + p.Text
		if req.Channel == support.Email && p.Title == best.Title && p.Heading != p.Title && p.Similarity >= alsoAt && agent.Units(req.Channel, longer) <= within(req.Aim) {
			text = longer
		}
	}
	return text + source
}

var asking = regexp.MustCompile(`(?i)\b(how|where|what|which|why|when|can i|can we|is it possible)\b`)

// fewWords is how many words a question may have that says nothing without the
// sentence before it ("What should I do?").
const fewWords = 5

// core is what a longer text comes down to: its first question, with the sentence
// before it where it is short, else its first sentence that asks in other ways,
// else its first sentence.
func core(q string) string {
	first, asked, before := "", "", ""
	for s := range strings.FieldsFuncSeq(q, func(r rune) bool { return strings.ContainsRune(".!;\n。！", r) }) {
		head, _, ends := strings.Cut(strings.TrimSpace(s), "?")
		switch {
		case ends && len(strings.Fields(head)) <= fewWords && before != "":
			return before + ". " + head + "?"
		case ends:
			return head + "?"
		case asked == "" && asking.MatchString(head):
			asked = head
		case first == "":
			first = head
		}
		if head != "" {
			before = head
		}
	}
	return cmp.Or(asked, first)
}

type passage struct {
	Title      string  `json:"title"`
	Heading    string  `json:"heading"`
	Text       string  `json:"text"`
	Similarity float64 `json:"similarity"`
}

func passages(content string) []passage {
	var r struct {
		Results []passage `json:"results"`
	}
	_ = json.Unmarshal([]byte(content), &r) // anything else holds no passage
	return r.Results
}

// results are what tools have said so far, by tool.
func results(items []agent.Item) map[string][]string {
	names := map[string]string{}
	said := map[string][]string{}
	for _, it := range items {
		switch it.Kind {
		case agent.ItemCall:
			names[it.Call.ID] = it.Call.Name
		case agent.ItemResult:
			said[names[it.CallID]] = append(said[names[it.CallID]], it.Text)
		}
	}
	return said
}

func search(query string) agent.Call {
	if r := []rune(query); len(r) > 1000 {
		query = string(r[:1000])
	}
	if query == "" {
		query = "help"
	}
	return call("search_knowledge_base", map[string]any{"query": query, "max_results": 3, "category": nil})
}

func say(message string) agent.Call {
	return call("send_response", map[string]any{"message": message})
}

func escalate() agent.Call {
	return call("escalate_to_human", map[string]any{"reason": "agent", "urgency": "medium"})
}

func call(name string, args map[string]any) agent.Call {
	text, _ := json.Marshal(args) // cannot fail: strings, numbers and null
	return agent.Call{Name: name, Arguments: string(text)}
}
