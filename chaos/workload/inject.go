package workload

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"fte/chaos/checker"
)

// delivered is what came of one delivery.
type delivered struct {
	externalID          string // as messages.external_id has it; empty while it is not known
	status              int    // 200: accepted; 0: no answer
	refused             bool   // certainly not accepted
	messageID, threadID string // of a mail
}

// whatsApp has the simulated vendor call the webhook.
func (w *Workload) whatsApp(ctx context.Context, m Message, from string) delivered {
	form := url.Values{"From": {from}, "Body": {m.Text}, "MessageSid": {m.ID}, "ProfileName": {fmt.Sprint("Customer ", m.Customer)}}
	var said struct {
		WebhookStatus int `json:"webhook_status"`
	}
	if w.post(ctx, w.cfg.Sim+"/_ctl/whatsapp/inbound", "application/x-www-form-urlencoded", form.Encode(), nil, &said) != http.StatusOK {
		said.WebhookStatus = 0
	}
	return delivered{externalID: m.ID, status: said.WebhookStatus}
}

// mail puts a mail in our mailbox; one that lies there is notified of again. It is
// accepted once it is there.
func (w *Workload) mail(ctx context.Context, m Message) delivered {
	q := url.Values{}
	raw := w.raw(m)
	w.mu.Lock()
	known := w.known[m.ID]
	w.mu.Unlock()
	if _, id, ok := strings.Cut(known, "/"); ok {
		q.Set("repeat", id)
		raw = ""
	} else if m.Auth != "" {
		q.Set("auth", m.Auth)
	}
	var said struct{ ID, ThreadID string }
	status := w.post(ctx, w.cfg.Sim+"/_ctl/gmail/inbound?"+q.Encode(), "message/rfc822", raw, nil, &said)
	if status != http.StatusOK {
		return delivered{status: status, messageID: messageID(m.ID)}
	}
	return delivered{externalID: w.cfg.Mailbox + "/" + said.ID, status: status, messageID: messageID(m.ID), threadID: said.ThreadID}
}

// raw is the mail as its sender's server would give it to Gmail.
func (w *Workload) raw(m Message) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("From: Customer %d <%s>", m.Customer, cmp.Or(m.From, MailAddress(w.cfg.Run, m.Customer)))
	line("To: %s", w.cfg.Mailbox)
	line("Subject: %s", m.Subject)
	line("Message-ID: <%s>", messageID(m.ID))
	if n := len(m.References); n > 0 {
		line("In-Reply-To: <%s>", m.References[n-1])
		line("References: <%s>", strings.Join(m.References, ">\r\n <"))
	}
	line("Date: %s", time.Now().UTC().Format(time.RFC1123Z))
	for _, h := range m.Header {
		line("%s", h)
	}
	if m.Body != "" {
		line("")
		line("%s", m.Body)
		return b.String()
	}
	line("Content-Type: text/plain; charset=utf-8")
	line("")
	line("%s", m.Text)
	return b.String()
}

// form sends the form to the next of our edges.
func (w *Workload) form(ctx context.Context, m Message) delivered {
	body, _ := json.Marshal(map[string]string{"name": fmt.Sprint("Customer ", m.Customer), "email": cmp.Or(m.From, MailAddress(w.cfg.Run, m.Customer)), "subject": m.Subject,
		"category": "general", "priority": "medium", "message": m.Text})
	var said struct {
		Ticket string `json:"ticket_id"`
		Token  string `json:"access_token"`
	}
	status := w.post(ctx, w.api()+"/support/submit", "application/json", string(body), http.Header{"X-Site-Key": {w.cfg.SiteKey}, "Idempotency-Key": {m.ID}}, &said)
	if status == http.StatusOK {
		w.mu.Lock()
		w.tokens[said.Ticket] = said.Token
		w.mu.Unlock()
	}
	return delivered{externalID: said.Ticket, status: status, refused: status/100 == 4}
}

// api is the next of our edges.
func (w *Workload) api() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tries++
	return w.cfg.APIs[w.tries%len(w.cfg.APIs)]
}

// Tickets reads every form's ticket as its owner sees it.
func (w *Workload) Tickets(ctx context.Context) ([]checker.Ticket, error) {
	w.mu.Lock()
	tokens := maps.Clone(w.tokens)
	w.mu.Unlock()
	var mu sync.Mutex // guards read
	var read []checker.Ticket
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(8)
	for id, token := range tokens {
		all.Go(func() error {
			t, err := w.ticket(ctx, id, token)
			mu.Lock()
			defer mu.Unlock()
			read = append(read, t)
			return err
		})
	}
	return read, all.Wait()
}

// ticketTries is how often a ticket is asked for: an edge may be away.
const ticketTries = 5

func (w *Workload) ticket(ctx context.Context, id, token string) (t checker.Ticket, err error) {
	for range ticketTries {
		var req *http.Request
		if req, err = http.NewRequestWithContext(ctx, http.MethodGet, w.api()+"/support/ticket/"+id, nil); err != nil {
			return t, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		t = checker.Ticket{ID: id}
		var status int
		if status, err = w.do(req, &t); err == nil && status == http.StatusOK {
			return t, nil
		}
		err = fmt.Errorf("read ticket %s: status %d: %v", id, status, err)
		if !sleep(ctx, 250*time.Millisecond) {
			break
		}
	}
	return t, err
}

// post makes a request and returns its status, 0 without an answer that can be
// read.
func (w *Workload) post(ctx context.Context, target, kind, body string, header http.Header, out any) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(body))
	if err != nil {
		return 0
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", kind)
	status, err := w.do(req, out)
	if err != nil {
		return 0
	}
	return status
}

// do decodes the answer into out where it is 200.
func (w *Workload) do(req *http.Request, out any) (int, error) {
	res, err := w.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	if err == nil && res.StatusCode == http.StatusOK {
		err = json.NewDecoder(bytes.NewReader(raw)).Decode(out)
	}
	return res.StatusCode, err
}
