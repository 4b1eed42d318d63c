package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"fte/chaos/checker"
	"fte/support"
)

// Linking is one customer's way from its mail or form to WhatsApp.
type Linking struct {
	Customer int
	Began    time.Time // when the message was accepted whose answer is to offer the link
	Ended    time.Time // when the customer read that it is linked; zero: not yet
	Tries    int
	Linked   bool
	Why      string // where the last try stopped, while it is not linked

	page string // the token of the page that gives codes
}

// Linkings are the customers who link, in the order in which they began.
func (w *Workload) Linkings() []Linking {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := []Linking{}
	for _, l := range w.linkings {
		all = append(all, *l)
	}
	return all
}

// How long a customer who links does nothing else after one message, how long a
// page may take to answer, how often it looks, how often it tries after one
// message, and after how many it gives up.
const (
	linkPatience = 90 * time.Second
	linkAnswer   = 10 * time.Second
	linkLook     = 300 * time.Millisecond
	linkTries    = 3
	linkMost     = 8
)

// link has the customer of an accepted mail or form go on to WhatsApp as a customer
// would: it follows the link that we mailed, sends the code of the page from its
// number and says yes. The customer's next messages wait for that: it takes
// linkPatience at most, and goes on after the next mail or form from the page it has.
func (w *Workload) link(ctx context.Context, m Message, op checker.Op) {
	w.mu.Lock()
	l := w.linking[m.Customer]
	if l == nil {
		l = &Linking{Customer: m.Customer, Began: time.Now()}
		w.linking[m.Customer], w.linkings = l, append(w.linkings, l)
	}
	way := *l
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()
	for range linkTries {
		if way.Linked || way.Tries == linkMost || ctx.Err() != nil {
			return
		}
		way.Tries++
		err := w.tryLink(ctx, &way, m, op)
		if err == nil {
			way.Linked, way.Ended, way.Why = true, time.Now(), ""
		} else {
			way.Why = err.Error()
		}
		w.mu.Lock()
		*l = way
		w.mu.Unlock()
		if way.page == "" && m.Channel == support.Email {
			return // the answer offered no link: the next may
		}
	}
}

// What our pages and messages say to one who links.
var (
	linkToken   = regexp.MustCompile(`/link#([A-Za-z0-9_.-]*[A-Za-z0-9_-])`)
	linkCode    = regexp.MustCompile(`LINK-[0-9A-Z]{8}`)
	mailedCode  = regexp.MustCompile(`code is ([0-9]{6})`)
	askedOrNot  = regexp.MustCompile(`Reply YES|did not work|is now linked`)
	linkedOrNot = regexp.MustCompile(`is now linked|did not work`)
)

func (w *Workload) tryLink(ctx context.Context, l *Linking, m Message, op checker.Op) (err error) {
	if l.page == "" {
		if m.Channel == support.WebForm {
			l.page, err = w.proveForm(ctx, op)
		} else {
			l.page, err = w.read(ctx, support.Email, op.Address, 0, linkToken)
		}
		if err != nil {
			return err
		}
	}
	code, err := w.code(ctx, l.page)
	if err != nil {
		return err
	}
	number := Address(w.cfg.Run, m.Customer)
	said, err := w.say(ctx, m.Customer, number, code, askedOrNot)
	if err == nil && said == "Reply YES" {
		said, err = w.say(ctx, m.Customer, number, "YES", linkedOrNot)
	}
	if err == nil && said != "is now linked" {
		err = errors.New("link: the code did not work")
	}
	return err
}

// proveForm proves the address of a form by the code that is mailed to it, and
// returns the token of the page that it is offered then.
func (w *Workload) proveForm(ctx context.Context, op checker.Op) (string, error) {
	w.mu.Lock()
	token := w.tokens[op.ExternalID]
	w.mu.Unlock()
	header := http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}, "X-Site-Key": {w.cfg.SiteKey}}
	seen, err := w.last(ctx, support.Email, op.Address)
	if err != nil {
		return "", err
	}
	ticket := "/support/ticket/" + op.ExternalID
	if _, err := w.edge(ctx, ticket+"/verify", header, ""); err != nil {
		return "", fmt.Errorf("ask for a code by mail: %w", err)
	}
	code, err := w.read(ctx, support.Email, op.Address, seen, mailedCode)
	if err != nil {
		return "", err
	}
	said, err := w.edge(ctx, ticket+"/confirm", header, `{"code":"`+code+`"}`)
	if err != nil {
		return "", fmt.Errorf("confirm the code: %w", err)
	}
	if page := linkToken.FindStringSubmatch(said); page != nil {
		return page[1], nil
	}
	return "", errors.New("confirm the code: no link is offered")
}

// code presses the button of the page behind a link.
func (w *Workload) code(ctx context.Context, page string) (string, error) {
	said, err := w.edge(ctx, "/link", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, url.Values{"token": {page}}.Encode())
	if err != nil {
		return "", fmt.Errorf("ask the page for a code: %w", err)
	}
	if code := linkCode.FindString(said); code != "" {
		return code, nil
	}
	return "", errors.New("ask the page for a code: it shows none")
}

// say writes on WhatsApp and waits for an answer.
func (w *Workload) say(ctx context.Context, customer int, number, text string, want *regexp.Regexp) (string, error) {
	seen, err := w.last(ctx, support.WhatsApp, number)
	if err != nil {
		return "", err
	}
	if op := w.Write(ctx, Message{Customer: customer, Channel: support.WhatsApp, Text: text, Nature: checker.Linking}); op.Outcome != checker.OK {
		return "", errors.New("link: what was written was not accepted")
	}
	return w.read(ctx, support.WhatsApp, number, seen, want)
}

// read looks into a customer's mailbox or chat until something newer than n holds
// what is wanted, and returns that or its first group.
func (w *Workload) read(ctx context.Context, channel support.Channel, address string, n int64, want *regexp.Regexp) (string, error) {
	for {
		sent, err := w.arrived(ctx, channel, address)
		for _, m := range slices.Backward(sent) {
			if found := want.FindStringSubmatch(m.Text); found != nil && m.N > n {
				return found[len(found)-1], nil
			}
		}
		if !sleep(ctx, linkLook) {
			return "", errors.Join(fmt.Errorf("wait for %q by %s: nothing came", want, channel), err)
		}
	}
}

// last numbers the last message that a customer has got.
func (w *Workload) last(ctx context.Context, channel support.Channel, address string) (int64, error) {
	sent, err := w.arrived(ctx, channel, address)
	for err != nil && sleep(ctx, linkLook) {
		sent, err = w.arrived(ctx, channel, address)
	}
	if err != nil || len(sent) == 0 {
		return 0, err
	}
	return sent[len(sent)-1].N, nil
}

// arrived is what vendors delivered to a customer.
func (w *Workload) arrived(ctx context.Context, channel support.Channel, address string) (sent []checker.Send, err error) {
	ctx, cancel := context.WithTimeout(ctx, linkAnswer)
	defer cancel()
	q := url.Values{"channel": {string(channel)}, "to": {address}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.cfg.Sim+"/_ctl/sent?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	if status, err := w.do(req, &sent); err != nil || status != http.StatusOK {
		return nil, fmt.Errorf("look for messages by %s: status %d: %v", channel, status, err)
	}
	return sent, nil
}

// edge posts to our edges in turn, until one answers other than that it cannot just
// now, or ctx ends.
func (w *Workload) edge(ctx context.Context, path string, header http.Header, body string) (string, error) {
	for {
		said, again, err := w.press(ctx, path, header, body)
		if err == nil || !again || !sleep(ctx, linkLook) {
			return said, err
		}
	}
}

// press posts once; again says that it may go well later.
func (w *Workload) press(ctx context.Context, path string, header http.Header, body string) (said string, again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, linkAnswer)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.api()+path, strings.NewReader(body))
	if err != nil {
		return "", false, err
	}
	req.Header = header.Clone()
	res, err := w.http.Do(req)
	if err != nil {
		return "", true, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return "", true, err
	}
	if res.StatusCode >= 300 {
		return "", res.StatusCode >= 500, fmt.Errorf("status %d", res.StatusCode)
	}
	return string(raw), false, nil
}
