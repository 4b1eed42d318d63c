package twiliotest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"fte/channel/simctl"

	"go.uber.org/zap"
)

// ctlInbound implements POST /_ctl/whatsapp/inbound.
func (s *Server) ctlInbound(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	sid, status, err := s.Inbound(r.PostForm)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	simctl.WriteJSON(w, http.StatusOK, map[string]any{"MessageSid": sid, "webhook_status": status})
}

// Inbound has a customer write: it stores the message, sends the signed webhook
// with its retries and returns the status of the last try, 0 without an answer.
// Missing fields are made; a MessageSid that is known repeats that message as it
// was.
func (s *Server) Inbound(form url.Values) (sid string, status int, err error) {
	m, err := s.incoming(form)
	if err != nil {
		return "", 0, err
	}
	entry, err := s.ctl.Inbound.Add("whatsapp", m.Sid, m.From)
	if err != nil {
		return "", 0, err
	}
	status = s.webhook(m)
	if err := s.ctl.Inbound.Done(entry.N, status); err != nil {
		return "", 0, err
	}
	if status >= 200 && status < 300 && entry.RedeliveryOf == 0 && s.happens(s.options().Redeliver) {
		s.work.Go(func() {
			if s.pause(300 * time.Millisecond) {
				if _, _, err := s.Inbound(url.Values{"MessageSid": {m.Sid}}); err != nil {
					s.log.Warn("redelivery failed", zap.String("message_sid", m.Sid), zap.Error(err))
				}
			}
		})
	}
	return m.Sid, status, nil
}

// incoming returns the message of a form, stored.
func (s *Server) incoming(form url.Values) (message, error) {
	if known, ok := s.find(form.Get("MessageSid")); ok && known.Direction == "inbound" {
		return known, nil
	}
	f := url.Values{}
	for name, values := range form {
		f[name] = values
	}
	if from := f.Get("From"); from == "" {
		return message{}, fmt.Errorf("inject message: From is empty")
	} else if !strings.HasPrefix(from, "whatsapp:") {
		f.Set("From", "whatsapp:"+from)
	}
	sid := f.Get("MessageSid")
	if sid == "" {
		sid = newID("SM")
	}
	count, _ := strconv.Atoi(f.Get("NumMedia"))
	m := message{Sid: sid, Direction: "inbound", From: f.Get("From"), Body: f.Get("Body"), Status: "received"}
	for i := range min(count, 10) {
		n := strconv.Itoa(i)
		att := media{Sid: newID("ME"), Type: f.Get("MediaContentType" + n)}
		if att.Type == "" {
			att.Type = "image/png"
		}
		if f.Get("MediaUrl"+n) == "" {
			f.Set("MediaUrl"+n, "https://api.twilio.com/2010-04-01/Accounts/"+s.cfg.AccountSID+"/Messages/"+sid+"/Media/"+att.Sid)
		}
		f.Set("MediaContentType"+n, att.Type)
		m.Media = append(m.Media, att)
	}
	kind := "text"
	if count > 0 {
		kind, _, _ = strings.Cut(m.Media[0].Type, "/")
	}
	for name, v := range map[string]string{"MessageSid": sid, "SmsMessageSid": sid, "SmsSid": sid, "AccountSid": s.cfg.AccountSID, "ApiVersion": "2010-04-01",
		"To": s.cfg.Number, "Body": "", "NumMedia": "0", "NumSegments": "1", "SmsStatus": "received", "MessageType": kind, "ProfileName": "Customer"} {
		if _, ok := f[name]; !ok {
			f.Set(name, v)
		}
	}
	if number, ok := strings.CutPrefix(m.From, "whatsapp:+"); ok && f.Get("WaId") == "" {
		f.Set("WaId", number)
	}
	m.To, m.Form = f.Get("To"), f
	m.Created = time.Now().UTC()
	m.Updated = m.Created
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := m
	s.keep(&kept)
	return m, nil
}

// overrides are the connection settings in a webhook URL's fragment
// (twilio.com/docs/usage/webhooks/webhooks-connection-overrides).
type overrides struct {
	connect, read, total time.Duration
	retries              int
	on                   map[string]bool
}

func parseOverrides(target string) overrides {
	_, fragment, _ := strings.Cut(target, "#")
	q, _ := url.ParseQuery(fragment)
	ms := func(name string, least, most, otherwise int) time.Duration {
		n, err := strconv.Atoi(q.Get(name))
		if err != nil {
			n = otherwise
		}
		return time.Duration(min(max(n, least), most)) * time.Millisecond
	}
	o := overrides{connect: ms("ct", 100, 10_000, 5_000), read: ms("rt", 100, 15_000, 15_000), total: ms("tt", 100, 15_000, 15_000), on: map[string]bool{}}
	o.retries = int(ms("rc", 0, 5, 1) / time.Millisecond)
	policy := q.Get("rp")
	if policy == "" {
		policy = "ct"
	}
	for _, p := range strings.Split(policy, ",") {
		o.on[p] = true
	}
	return o
}

// again says whether a try that ended so is repeated.
func (o overrides) again(status int, err error) bool {
	switch {
	case status/100 == 2:
		return false
	case o.on["all"]:
		return true
	case err != nil && isDial(err):
		return o.on["ct"]
	case err != nil:
		return o.on["rt"]
	case status/100 == 4:
		return o.on["4xx"]
	default:
		return status/100 == 5 && o.on["5xx"]
	}
}

// webhook brings a message to the webhook, then to the fallback, and returns the
// status of the last try.
func (s *Server) webhook(m message) (status int) {
	s.mu.Lock()
	targets := []string{s.cfg.WebhookURL, s.cfg.FallbackURL}
	s.mu.Unlock()
	for _, target := range targets {
		if target == "" {
			continue
		}
		if status = s.deliver(target, m); status/100 == 2 {
			return status
		}
	}
	return status
}

func (s *Server) deliver(target string, m message) (status int) {
	o := parseOverrides(target)
	transport := &http.Transport{DialContext: (&net.Dialer{Timeout: o.connect}).DialContext, TLSHandshakeTimeout: o.connect}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: s.hooks.CheckRedirect, Timeout: o.connect + o.read}
	ctx, cancel := context.WithTimeout(s.ctx, o.total)
	defer cancel()
	token := newID("")
	for try := 0; ; try++ {
		var err error
		status, err = s.post(ctx, client, target, token, m.Form)
		if try == o.retries || !o.again(status, err) || ctx.Err() != nil {
			if err != nil {
				s.log.Warn("webhook failed", zap.String("message_sid", m.Sid), zap.Int("tries", try+1), zap.Error(err))
			}
			return status
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond << try):
		}
	}
}
