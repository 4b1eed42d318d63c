package whatsapp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"fte/channel/simctl"
	"fte/channel/whatsapp"
	"fte/channel/whatsapp/twiliotest"
	"fte/support"

	"github.com/stretchr/testify/require"
)

const customer = "01890000-0000-7000-8000-000000000001"

// vendor is a simulated Twilio with a sender that talks to it.
type vendor struct {
	*twiliotest.Server
	url    string
	sender *whatsapp.Sender
	taken  *sync.Map
}

func newVendor(t testing.TB, change func(*twiliotest.Config)) vendor {
	t.Helper()
	c := twiliotest.Config{Dir: t.TempDir(), AccountSID: account, AuthToken: token, Number: number, TimeScale: 0.05}
	if change != nil {
		change(&c)
	}
	s, err := twiliotest.New(c)
	require.NoError(t, err)
	web := httptest.NewServer(s)
	t.Cleanup(func() { web.Close(); require.NoError(t, s.Close()) })
	v := vendor{Server: s, url: web.URL, taken: &sync.Map{}}
	v.sender = newSender(t, web.URL, public, v.taken)
	return v
}

func newSender(t testing.TB, base, public string, taken *sync.Map) *whatsapp.Sender {
	t.Helper()
	s, err := whatsapp.NewSender(whatsapp.SenderConfig{AccountSID: account, AuthToken: token, Number: number, PublicURL: public, BaseURL: base,
		Taken: func(_ context.Context, sid string) (bool, error) { _, ok := taken.Load(sid); return ok, nil }})
	require.NoError(t, err)
	return s
}

func outbound(seq int64, text string) support.Outbound {
	return support.Outbound{Customer: customer, Seq: seq, Channel: support.WhatsApp, To: "whatsapp:+5213312345678", Text: text, ClaimedAt: time.Now()}
}

func sendError(t *testing.T, err error) *support.SendError {
	t.Helper()
	var e *support.SendError
	require.ErrorAs(t, err, &e)
	require.NotContains(t, err.Error(), "+52133")
	require.NotContains(t, err.Error(), "secret words")
	return e
}

func TestSendCarriesKeyAndExactAddress(t *testing.T) {
	v := newVendor(t, nil)
	sid, err := v.sender.Send(t.Context(), outbound(3, "Grüße, 世界 👋"))
	require.NoError(t, err)
	sent := v.Control().Sent.List("whatsapp", "", 0)
	require.Len(t, sent, 1)
	require.Equal(t, simctl.Sent{N: 1, Channel: "whatsapp", From: number, To: "whatsapp:+5213312345678", Body: "Grüße, 世界 👋", Text: "Grüße, 世界 👋",
		Key: customer + ":3", ProviderID: sid, At: sent[0].At}, sent[0])
}

func TestErrorsMeanWhatTheySay(t *testing.T) {
	v := newVendor(t, nil)
	fault := func(f simctl.Fault) func() {
		return func() { f.Vendor = "twilio"; require.NoError(t, v.Control().Faults.Set(f)) }
	}
	refuse := func(code int) func() {
		return func() { v.Refuse(twiliotest.Refusal{To: "whatsapp:+5213312345678", Code: code, Times: 1}) }
	}
	type meaning struct{ permanent, refusal, unknown, down bool }
	permanent, refusal, unknown, down := meaning{permanent: true}, meaning{refusal: true}, meaning{unknown: true, down: true}, meaning{down: true}
	cases := map[string]struct {
		arrange func()
		want    meaning
		code    string
	}{
		"429 is certain not sent":      {fault(simctl.Fault{Kind: simctl.Error, Status: 429}), down, "20429"},
		"500 may have been taken":      {fault(simctl.Fault{Kind: simctl.Error, Status: 500}), unknown, "20500"},
		"503 may have been taken":      {fault(simctl.Fault{Kind: simctl.Error, Status: 503}), unknown, "20503"},
		"401 is our settings":          {fault(simctl.Fault{Kind: simctl.Error, Status: 401}), down, "20003"},
		"404 is our settings":          {fault(simctl.Fault{Kind: simctl.Error, Status: 404}), down, "20404"},
		"unknown 400 may heal":         {fault(simctl.Fault{Kind: simctl.Error, Status: 400}), refusal, "20001"},
		"302 may have been taken":      {fault(simctl.Fault{Kind: simctl.Garbage, Status: 302}), unknown, "0"},
		"502 in HTML keeps its status": {fault(simctl.Fault{Kind: simctl.Garbage, Status: 502}), unknown, "0"},
		"200 with garbage":             {fault(simctl.Fault{Kind: simctl.Garbage}), unknown, "unreadable"},
		"no answer":                    {fault(simctl.Fault{Kind: simctl.Timeout, Delay: 20 * time.Millisecond}), unknown, "no_answer"},
		"accepted, then cut":           {fault(simctl.Fault{Kind: simctl.AcceptThenCut}), unknown, "no_answer"},
		"21211":                        {refuse(21211), permanent, "21211"},
		"21610":                        {refuse(21610), permanent, "21610"},
		"21617":                        {refuse(21617), permanent, "21617"},
		"63003":                        {refuse(63003), permanent, "63003"},
		"63005":                        {refuse(63005), permanent, "63005"},
		"63007":                        {refuse(63007), permanent, "63007"},
		"63019":                        {refuse(63019), permanent, "63019"},
		"63024":                        {refuse(63024), permanent, "63024"},
		"63030":                        {refuse(63030), permanent, "63030"},
		"63032":                        {refuse(63032), permanent, "63032"},
		"63038":                        {refuse(63038), permanent, "63038"},
		"63051":                        {refuse(63051), permanent, "63051"},
		"63018 waits":                  {refuse(63018), refusal, "63018"},
		"131056 waits":                 {refuse(131056), refusal, "131056"},
		"20429 of a recipient":         {refuse(20429), down, "20429"},
		"a code nobody knows may heal": {refuse(29999), refusal, "29999"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v.Control().Faults.Heal()
			c.arrange()
			_, err := v.sender.Send(t.Context(), outbound(1, "secret words"))
			e := sendError(t, err)
			require.Equal(t, c.want, meaning{e.Permanent, e.Refusal, e.Unknown, e.Down})
			require.Equal(t, c.code, e.Code)
			if strings.Contains(name, "waits") {
				require.Equal(t, 6*time.Second, e.RetryIn)
			}
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	status := 429
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "17")
		w.WriteHeader(status)
	}))
	defer web.Close()
	s := newSender(t, web.URL, public, &sync.Map{})
	_, err := s.Send(t.Context(), outbound(1, "x"))
	require.Equal(t, 17*time.Second, sendError(t, err).RetryIn)
	status = 503
	_, err = s.Send(t.Context(), outbound(1, "x"))
	require.Equal(t, 17*time.Second, sendError(t, err).LookIn)
}

func TestWhatNeverReachedTheVendorIsCertain(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	refused := "http://" + closed.Addr().String()
	closed.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections and says nothing: a TLS handshake never ends
	require.NoError(t, err)
	defer silent.Close()
	for name, base := range map[string]string{
		"refused": refused, "no such name": "http://twilio.invalid", "TLS fails": strings.Replace(plain.URL, "http:", "https:", 1), "TLS hangs": "https://" + silent.Addr().String(),
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := newSender(t, base, public, &sync.Map{}).Send(ctx, outbound(1, "secret words"))
			e := sendError(t, err)
			require.False(t, e.Unknown)
			require.True(t, e.Down)
		})
	}
}

func TestLastCheckKeepsEveryByteBack(t *testing.T) {
	v := newVendor(t, nil)
	shut := support.WithGate(t.Context(), func() error { return errors.New("half of the claim is used") })
	_, err := v.sender.Send(shut, outbound(1, "x"))
	e := sendError(t, err)
	require.Equal(t, "gate", e.Code)
	require.False(t, e.Unknown || e.Down || e.Permanent || e.Refusal)
	require.Empty(t, v.Control().Sent.List("", "", 0))

	asked := 0
	_, err = v.sender.Send(support.WithGate(t.Context(), func() error { asked++; return nil }), outbound(1, "x"))
	require.NoError(t, err)
	require.Positive(t, asked)
}

func TestLookupFindsWhatWasAccepted(t *testing.T) {
	v := newVendor(t, nil)
	require.NoError(t, v.Control().Faults.Set(simctl.Fault{Vendor: "twilio", Kind: simctl.AcceptThenCut, Method: "POST"}))
	o := outbound(5, "Your ticket is T-1.")
	_, err := v.sender.Send(t.Context(), o)
	require.True(t, sendError(t, err).Unknown)
	sent := v.Control().Sent.List("whatsapp", "", 0)
	require.Len(t, sent, 1)

	found, err := v.sender.Lookup(t.Context(), o)
	require.NoError(t, err)
	require.True(t, found.Found)
	require.Equal(t, sent[0].ProviderID, found.ProviderID)
	require.Contains(t, []support.OutboxState{support.OutAccepted, support.OutSent, support.OutDelivered}, found.State)

	for name, other := range map[string]func(*support.Outbound){
		"another text":              func(o *support.Outbound) { o.Text = "Your ticket is T-2." },
		"another recipient":         func(o *support.Outbound) { o.To = "whatsapp:+15551234567" },
		"an attempt that is later":  func(o *support.Outbound) { o.ClaimedAt = time.Now().Add(time.Minute) },
		"a recipient without a sid": func(o *support.Outbound) { o.To = "whatsapp:US.13491208655302741918" },
	} {
		t.Run(name+" is not it", func(t *testing.T) {
			o := o
			other(&o)
			got, err := v.sender.Lookup(t.Context(), o)
			require.NoError(t, err)
			require.Equal(t, support.Lookup{}, got)
		})
	}
	v.taken.Store(sent[0].ProviderID, true)
	got, err := v.sender.Lookup(t.Context(), o)
	require.NoError(t, err)
	require.False(t, got.Found, "a message that another row recorded is not this row's")
}

func TestLookupOfAUserID(t *testing.T) {
	v := newVendor(t, nil)
	o := outbound(1, "hi")
	o.To = "whatsapp:US.13491208655302741918"
	sid, err := v.sender.Send(t.Context(), o)
	require.NoError(t, err)
	found, err := v.sender.Lookup(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, sid, found.ProviderID)
}

func TestLookupReadsEveryPageAndTakesTheOldest(t *testing.T) {
	v := newVendor(t, nil)
	o := outbound(1, "same")
	first, err := v.sender.Send(t.Context(), o)
	require.NoError(t, err)
	for i := range 230 {
		text := "other"
		if i == 0 {
			text = "same"
		}
		_, err := v.sender.Send(t.Context(), outbound(int64(i+2), text))
		require.NoError(t, err)
	}
	found, err := v.sender.Lookup(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, first, found.ProviderID)
}

func TestLookupThatFailsDecidesNothing(t *testing.T) {
	v := newVendor(t, nil)
	for _, f := range []simctl.Fault{{Kind: simctl.Error, Status: 500}, {Kind: simctl.Error, Status: 429}, {Kind: simctl.Garbage}, {Kind: simctl.AcceptThenCut}, {Kind: simctl.Timeout, Delay: time.Millisecond}} {
		v.Control().Faults.Heal()
		f.Vendor = "twilio"
		require.NoError(t, v.Control().Faults.Set(f))
		_, err := v.sender.Lookup(t.Context(), outbound(1, "secret words"))
		require.Error(t, err, f.Kind)
		require.NotContains(t, err.Error(), "+52133")
	}
	for _, body := range []string{`{}`, `{"messages":[]}`, `[]`, `{"uri":"/x","messages":[{"sid":"SM1","date_created":"yesterday","direction":"outbound-api","body":"secret words"}]}`} {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
		_, err := newSender(t, web.URL, public, &sync.Map{}).Lookup(t.Context(), outbound(1, "secret words"))
		require.Error(t, err, body)
		web.Close()
	}
}

func TestLookupReportsABadEnd(t *testing.T) {
	v := newVendor(t, nil)
	v.Refuse(twiliotest.Refusal{To: "whatsapp:+5213312345678", Code: 63016, Async: true})
	o := outbound(1, "late")
	_, err := v.sender.Send(t.Context(), o)
	require.NoError(t, err, "63016 comes by callback, the POST is accepted")
	require.Eventually(t, func() bool {
		found, err := v.sender.Lookup(t.Context(), o)
		return err == nil && found.State == support.OutUndelivered && found.Code == "63016"
	}, 20*time.Second, 20*time.Millisecond)
}

func TestListIsWhatTheWebhooksWouldHaveSaid(t *testing.T) {
	v := newVendor(t, nil)
	since := time.Now()
	for _, f := range []url.Values{
		{"From": {"whatsapp:+5213312345678"}, "Body": {"one\x00"}},
		{"From": {"+15551234567"}, "Body": {""}, "NumMedia": {"1"}, "MediaContentType0": {"image/jpeg"}},
		{"From": {"whatsapp:US.1"}, "Body": {"three"}},
		{"From": {"whatsapp:+9991234567"}, "Body": {"nobody can have this number"}},
	} {
		_, _, err := v.Inbound(f)
		require.NoError(t, err)
	}
	_, err := v.sender.Send(t.Context(), outbound(1, "not inbound"))
	require.NoError(t, err)
	list, err := v.sender.List(t.Context(), since)
	require.NoError(t, err)
	require.Len(t, list, 3)
	require.Equal(t, "one", list[0].Text)
	require.Equal(t, "[The customer sent an image without text: image/jpeg]", list[1].Text)
	require.Contains(t, list[1].Envelope.Media[0].URL, "https://api.twilio.com/2010-04-01/Accounts/"+account+"/Messages/"+list[1].ExternalID+"/Media/ME")
	require.Equal(t, []support.Address{{Kind: support.KindWABSUID, Value: "US.1"}}, list[2].From)
	for i, in := range v.Control().Inbound.List()[:3] {
		require.Equal(t, in.ExternalID, list[i].ExternalID)
		require.Equal(t, number, list[i].Envelope.Account)
		require.Equal(t, in.From, list[i].Envelope.ReplyTo)
		require.Equal(t, support.ChannelVerified, list[i].Level)
	}
	list, err = v.sender.List(t.Context(), time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Empty(t, list)
}

// What the simulator sends, the decoder takes: both sides of the contract.
func TestSimulatorAndDecoderAgree(t *testing.T) {
	var mu sync.Mutex
	var messages []support.Inbound
	var receipts []support.Receipt
	var web *httptest.Server
	var d *whatsapp.Decoder
	web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		req := support.Request{Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: r.Header, Body: body}
		mu.Lock()
		defer mu.Unlock()
		var err error
		if strings.HasSuffix(r.URL.Path, "/status") {
			var got support.Receipt
			if got, err = d.DecodeStatus(req); err == nil {
				receipts = append(receipts, got)
			}
		} else {
			var got []support.Inbound
			if got, err = d.Decode(req); err == nil {
				messages = append(messages, got...)
			}
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
		}
	}))
	defer web.Close()
	d = decoder(t, func(c *whatsapp.Config) { c.PublicURL = web.URL })
	v := newVendor(t, func(c *twiliotest.Config) {
		c.WebhookURL, c.Options = web.URL+hookPath+"#ct=2000&rt=3500&rc=3&rp=all", twiliotest.Options{Read: true, Duplicate: 1, Redeliver: 1}
	})
	resp, err := http.PostForm(v.url+"/_ctl/whatsapp/inbound", url.Values{"From": {"whatsapp:+15551234567"}, "Body": {"Grüße & 100%\n\"x\" 世界"}, "ProfileName": {"Åda"}})
	require.NoError(t, err)
	var answer struct {
		MessageSid    string
		WebhookStatus int `json:"webhook_status"`
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	require.Equal(t, 200, answer.WebhookStatus)
	require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(messages) == 2 }, 20*time.Second, 10*time.Millisecond, "it comes a second time")
	require.Equal(t, messages[0].ExternalID, messages[1].ExternalID)
	require.Equal(t, "Grüße & 100%\n\"x\" 世界", messages[1].Text)
	require.Equal(t, answer.MessageSid, messages[0].ExternalID)

	sid, err := newSender(t, v.url, web.URL, &sync.Map{}).Send(t.Context(), outbound(9, "hi"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(receipts) == 8 }, 20*time.Second, 10*time.Millisecond)
	for i, want := range []support.OutboxState{support.OutAccepted, support.OutSent, support.OutDelivered, support.OutRead} {
		require.Equal(t, support.Receipt{Channel: support.WhatsApp, Key: customer + ":9", ProviderID: sid, State: want}, receipts[2*i])
		require.Equal(t, receipts[2*i], receipts[2*i+1])
	}
}
