package harness

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"fte/agent/openai/openaitest"
	"fte/channel/email/gmailtest"
	"fte/channel/simctl"
	"fte/channel/whatsapp/twiliotest"
)

// vendors is a system that is the simulated vendors alone.
func vendors(t *testing.T) (*Dev, *simctl.Control) {
	dir := t.TempDir()
	ctl, err := simctl.Open(simctl.Config{Dir: dir})
	require.NoError(t, err)
	twilio, err := twiliotest.New(twiliotest.Config{Dir: dir, Control: ctl, AccountSID: "AC1", AuthToken: "secret", Number: "whatsapp:+14155238886"})
	require.NoError(t, err)
	gmail, err := gmailtest.New(gmailtest.Config{Dir: dir, Control: ctl, Mailbox: "support@fte.test"})
	require.NoError(t, err)
	model := openaitest.New()
	mux := http.NewServeMux()
	mux.Handle("/_ctl/", ctl.Handler())
	mux.Handle("/_ctl/whatsapp/", twilio)
	mux.Handle("/_ctl/gmail/", gmail)
	mux.Handle("/_ctl/model/", model.Control())
	s := httptest.NewServer(mux)
	t.Cleanup(func() {
		s.Close()
		require.NoError(t, gmail.Close())
		require.NoError(t, twilio.Close())
		require.NoError(t, ctl.Close())
	})
	return only(Ready{Sim: s.URL}), ctl
}

func TestKnobsAreTurnedBackToWhatTheyWere(t *testing.T) {
	d, _ := vendors(t)
	options := func() (all map[string]any) {
		require.NoError(t, d.control(t.Context(), http.MethodPost, "/_ctl/whatsapp/options", struct{}{}, &all))
		return all
	}
	_, err := d.Turn(t.Context(), "whatsapp/options", map[string]any{"redeliver": 0.25, "read": true})
	require.NoError(t, err)
	before := options()
	back, err := d.Turn(t.Context(), "whatsapp/options", map[string]any{"redeliver": 1, "drop": 1})
	require.NoError(t, err)
	require.EqualValues(t, 1, options()["redeliver"])
	require.EqualValues(t, 1, options()["drop"])
	require.NoError(t, back())
	require.Equal(t, before, options())
}

func TestMessagesAreDeliveredOnceMore(t *testing.T) {
	d, ctl := vendors(t)
	res, err := http.PostForm(d.first.Sim+"/_ctl/whatsapp/inbound", map[string][]string{"From": {"whatsapp:+14155550100"}, "Body": {"hello"}})
	require.NoError(t, err)
	res.Body.Close()
	mail := "From: a@b.example\r\nTo: support@fte.test\r\n\r\nhello\r\n"
	_, err = call(t.Context(), http.MethodPost, d.first.Sim+"/_ctl/gmail/inbound", "", mail, nil)
	require.NoError(t, err)
	first, err := d.Injected(t.Context())
	require.NoError(t, err)
	require.Len(t, first, 2)
	for _, in := range first {
		require.NoError(t, d.Redeliver(t.Context(), in))
	}
	all := ctl.Inbound.List()
	require.Len(t, all, 4)
	for i, in := range all[2:] {
		require.Equal(t, first[i].ExternalID, in.ExternalID)
		require.Equal(t, first[i].N, in.RedeliveryOf)
	}
	n, err := d.Gaps(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestOneScriptIsTakenOut(t *testing.T) {
	d, _ := vendors(t)
	for _, match := range []string{"mine", "theirs"} {
		require.NoError(t, d.Script(t.Context(), map[string]any{"match": match, "text": "Hi."}))
	}
	d.Unscript(t.Context(), "mine")
	var left []struct{ Match string }
	require.NoError(t, d.control(t.Context(), http.MethodGet, "/_ctl/model/script", nil, &left))
	require.Len(t, left, 1)
	require.Equal(t, "theirs", left[0].Match)
}

// A fault that a simulator forgot when it was started again is healed, and claims
// nothing.
func TestAForgottenFaultIsNoEvidence(t *testing.T) {
	d, ctl := vendors(t)
	heal, err := d.Break(t.Context(), DownSends())
	require.NoError(t, err)
	ctl.Faults.Heal()
	require.NoError(t, heal())
	f := noted(t, d)
	require.False(t, f.Fired)
	require.Contains(t, f.Evidence, "forgotten")
}
