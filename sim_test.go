package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"fte/channel/whatsapp/twiliotest"
)

// Behind a tunnel the edge verifies what Twilio signs over the tunnel's URL. A
// simulated Twilio signs so too, and needs no tunnel to get there.
func TestSimulatedTwilioSignsForThePublicURL(t *testing.T) {
	for _, public := range []string{"https://tunnel.example", "https://tunnel.example/"} {
		t.Setenv("FTE_PUBLIC_URL", public)
		d := &dev{devOptions: devOptions{http: "127.0.0.1:1"}, twilio: "secret"}
		require.Contains(t, d.settings(), "FTE_PUBLIC_URL="+public, "what the edge verifies")
		t.Setenv("FTE_PUBLIC_URL", d.public())
		t.Setenv("TWILIO_AUTH_TOKEN", "secret")
		called := make(chan string, 10)
		edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ParseForm() != nil || r.Header.Get("X-Twilio-Signature") != twiliotest.Sign("secret", "https://tunnel.example"+r.URL.RequestURI(), r.PostForm) {
				w.WriteHeader(http.StatusForbidden)
			}
			called <- r.URL.RequestURI()
		}))
		defer edge.Close()
		vendors, end, err := newSim(t.TempDir(), strings.TrimPrefix(edge.URL, "http://"), zap.NewNop())
		require.NoError(t, err)
		defer end()
		post := func(path string, form url.Values) string {
			r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.SetBasicAuth(devTwilioSID, "secret")
			w := httptest.NewRecorder()
			vendors.ServeHTTP(w, r)
			return w.Body.String()
		}
		require.Contains(t, post("/_ctl/whatsapp/inbound", url.Values{"From": {"whatsapp:+436601234567"}, "Body": {"hi"}}), `"webhook_status":200`)
		require.Equal(t, "/webhooks/whatsapp", <-called)
		post("/2010-04-01/Accounts/"+devTwilioSID+"/Messages.json", url.Values{"From": {devNumber}, "To": {"whatsapp:+436601234567"}, "Body": {"hello"},
			"StatusCallback": {"https://tunnel.example/webhooks/whatsapp/status?oid=1"}})
		require.Equal(t, "/webhooks/whatsapp/status?oid=1", <-called, "a receipt finds its way too")
	}
}
