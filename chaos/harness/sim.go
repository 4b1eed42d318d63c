package harness

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"fte/chaos/checker"
)

// VendorFault is a fault of a simulated vendor.
type VendorFault struct {
	ID     string  `json:"id"`     // made by Break when it is empty
	Vendor string  `json:"vendor"` // twilio, openai, gmail
	Kind   string  `json:"kind"`   // error, timeout, accept_then_cut, accept_then_hang, accept_then_error, slow, garbage
	Status int     `json:"status,omitempty"`
	Rate   float64 `json:"rate,omitempty"`
	Delay  string  `json:"delay,omitempty"`
	For    string  `json:"for,omitempty"`
	Path   string  `json:"path,omitempty"`
	Method string  `json:"method,omitempty"`
	Fired  int     `json:"fired,omitempty"`
}

// CutSends has the vendor accept part of the sends and cut the connection before
// it answers.
func CutSends(rate float64) VendorFault {
	return VendorFault{Vendor: "twilio", Kind: "accept_then_cut", Rate: rate, Path: "Messages.json", Method: http.MethodPost}
}

// CutMails has Gmail take part of the mails that are sent and cut the connection
// before it answers.
func CutMails(rate float64) VendorFault {
	return VendorFault{Vendor: "gmail", Kind: "accept_then_cut", Rate: rate, Path: "drafts/send", Method: http.MethodPost}
}

// DownMail has Gmail answer everything with a 503, its tokens and keys too.
func DownMail() VendorFault { return VendorFault{Vendor: "gmail", Kind: "error", Status: 503} }

// DownSends has the vendor answer every send and look-up with a 503.
func DownSends() VendorFault { return VendorFault{Vendor: "twilio", Kind: "error", Status: 503} }

// Break sets a fault of a vendor. heal ends this one alone, also when ctx has
// ended, and makes it part of the run's history, as fired when it struck at least
// once. A simulator that was started again meanwhile has forgotten it, and how
// often it struck.
func (d *Dev) Break(ctx context.Context, f VendorFault) (heal func() error, err error) {
	from := time.Now()
	if f.ID == "" {
		f.ID = rand.Text()
	}
	if err := d.control(ctx, http.MethodPost, "/_ctl/faults", f, nil); err != nil {
		return nil, err
	}
	return func() error {
		ctx, cancel := healing(ctx)
		defer cancel()
		note := checker.Fault{Kind: "vendor", Target: f.Vendor + " " + f.Kind, From: from}
		was, err := d.healed(ctx, f.ID)
		if err != nil {
			note.Evidence = err.Error()
			d.Note(note)
			return fmt.Errorf("heal %s %s: %w", f.Vendor, f.Kind, err)
		}
		note.To = time.Now()
		if was == nil {
			note.Evidence = "the simulator was started again and has forgotten it"
		} else {
			note.Fired, note.Evidence = was.Fired > 0, fmt.Sprintf("%d requests struck", was.Fired)
		}
		d.Note(note)
		return nil
	}, nil
}

// healed removes a fault and returns it as it ended, nil where there is none; a
// simulator that is being started again is waited for.
func (d *Dev) healed(ctx context.Context, id string) (was *VendorFault, err error) {
	for {
		var f VendorFault
		status, err := call(ctx, http.MethodDelete, d.first.Sim+"/_ctl/faults/"+id, "", nil, &f)
		switch {
		case err == nil:
			return &f, nil
		case status == http.StatusNotFound:
			return nil, nil
		case !pause(ctx, 200*time.Millisecond):
			return nil, err
		}
	}
}

// Gmail tells the simulated Gmail how to behave: what is one of its control
// endpoints, e.g. push.
func (d *Dev) Gmail(ctx context.Context, what string, in any) error {
	return d.control(ctx, http.MethodPost, "/_ctl/gmail/"+what, in, nil)
}

// Gaps is how often the simulated Gmail was asked for a place in its history that
// it no longer has.
func (d *Dev) Gaps(ctx context.Context) (n int, err error) {
	var said struct{ Gaps int }
	err = d.control(ctx, http.MethodGet, "/_ctl/gmail/history", nil, &said)
	return said.Gaps, err
}

// Struck is how often a fault has struck; 0 of one that is not there.
func (d *Dev) Struck(ctx context.Context, id string) int {
	var f VendorFault
	_ = d.control(ctx, http.MethodGet, "/_ctl/faults/"+id, nil, &f) // a simulator that is away struck nobody
	return f.Fired
}

// Turn sets knobs of a simulated vendor, at its control endpoint what, and returns
// the way back to what they were.
func (d *Dev) Turn(ctx context.Context, what string, knobs map[string]any) (back func() error, err error) {
	all := map[string]any{}
	if err := d.control(ctx, http.MethodPost, "/_ctl/"+what, struct{}{}, &all); err != nil {
		return nil, err
	}
	was := map[string]any{}
	for name := range knobs {
		was[name] = all[name]
	}
	if err := d.control(ctx, http.MethodPost, "/_ctl/"+what, knobs, nil); err != nil {
		return nil, err
	}
	return func() error {
		ctx, cancel := healing(ctx)
		defer cancel()
		for {
			err := d.control(ctx, http.MethodPost, "/_ctl/"+what, was, nil)
			if err == nil || !pause(ctx, 200*time.Millisecond) {
				return err
			}
		}
	}, nil
}

// Redeliver has the vendors deliver a message once more: WhatsApp's webhook, or
// Gmail's notification of a mail.
func (d *Dev) Redeliver(ctx context.Context, in checker.Injection) error {
	if in.Channel == "email" {
		_, id, _ := strings.Cut(in.ExternalID, "/")
		return d.control(ctx, http.MethodPost, "/_ctl/gmail/inbound?repeat="+url.QueryEscape(id), nil, nil)
	}
	form := url.Values{"MessageSid": {in.ExternalID}, "From": {in.From}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.first.Sim+"/_ctl/whatsapp/inbound", strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("deliver %s again: %w", in.ExternalID, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		return fmt.Errorf("deliver %s again: %w", in.ExternalID, err)
	}
	return res.Body.Close()
}

// Played is how many requests the scripts of that match have met.
func (d *Dev) Played(ctx context.Context, match string) (n int, err error) {
	var list []struct {
		Match string
		Used  int
	}
	err = d.control(ctx, http.MethodGet, "/_ctl/model/script", nil, &list)
	for _, s := range list {
		if s.Match == match {
			n += s.Used
		}
	}
	return n, err
}

// Unscript takes the scripts of that match out. A simulator that is away has
// forgotten them.
func (d *Dev) Unscript(ctx context.Context, match string) {
	ctx, cancel := healing(ctx)
	defer cancel()
	_ = d.control(ctx, http.MethodDelete, "/_ctl/model/script?match="+url.QueryEscape(match), nil, nil)
}

// Mail is a mail in the simulated mailbox.
type Mail struct {
	ID        string `json:"id"`
	ThreadID  string `json:"thread_id"`
	Direction string `json:"direction"` // in or out
	Subject   string `json:"subject"`
	Text      string `json:"text"`
	Headers   []struct{ Name, Value string }
}

// Header is the first header field of a name.
func (m Mail) Header(name string) string {
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// Mails are the mails from and to an address, oldest first.
func (d *Dev) Mails(ctx context.Context, address string) ([]Mail, error) {
	var list []Mail
	return list, d.control(ctx, http.MethodGet, "/_ctl/gmail/messages?address="+url.QueryEscape(address), nil, &list)
}

// Script tells the simulated model what to say to a request that matches.
func (d *Dev) Script(ctx context.Context, script any) error {
	return d.control(ctx, http.MethodPost, "/_ctl/model/script", script, nil)
}

// ModelRequests decodes the model server's log into out.
func (d *Dev) ModelRequests(ctx context.Context, out any) error {
	return d.control(ctx, http.MethodGet, "/_ctl/model/requests", nil, out)
}

// Injected is the vendors' list of what was put into them.
func (d *Dev) Injected(ctx context.Context) ([]checker.Injection, error) {
	var list []checker.Injection
	return list, d.control(ctx, http.MethodGet, "/_ctl/inbound", nil, &list)
}

// Sent is the vendors' log of what they accepted, from its file.
func (d *Dev) Sent() ([]checker.Send, error) {
	return checker.LoadSent(filepath.Join(d.cfg.Dir, "sim", "sent.jsonl"))
}

func (d *Dev) control(ctx context.Context, method, path string, in, out any) error {
	_, err := call(ctx, method, d.first.Sim+path, "", in, out)
	return err
}

// API calls the operator API and decodes its answer into out. The status is
// returned beside an error too, when there was an answer.
func (d *Dev) API(ctx context.Context, method, path string, in, out any) (int, error) {
	return call(ctx, method, d.first.HTTP+"/api/v1"+path, d.first.OperatorToken, in, out)
}

func call(ctx context.Context, method, url, token string, in, out any) (int, error) {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return 0, fmt.Errorf("%s %s: %w", method, url, err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, url, &body)
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w", method, url, err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w", method, url, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err != nil {
		return res.StatusCode, fmt.Errorf("%s %s: %w", method, url, err)
	}
	if res.StatusCode >= 300 {
		return res.StatusCode, fmt.Errorf("%s %s: %d %.300s", method, url, res.StatusCode, raw)
	}
	if out != nil {
		if err := json.Unmarshal(raw, out); err != nil {
			return res.StatusCode, fmt.Errorf("%s %s: %w", method, url, err)
		}
	}
	return res.StatusCode, nil
}
