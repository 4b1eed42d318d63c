package proof_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"fte/ingress/proof"
	"fte/support"

	"github.com/stretchr/testify/require"
)

// prover takes the token "good-token" and remembers what it was asked.
type prover struct {
	asked []string
	err   error
	hits  int
}

func (p *prover) take(what, token string) error {
	p.asked = append(p.asked, what+" "+token)
	if p.err == nil && token != "good-token" {
		return support.ErrNotFound
	}
	return p.err
}

func (p *prover) ConfirmToken(_ context.Context, token string) (support.Proof, error) {
	return support.Proof{Ticket: "t1", Link: "https://support.example/link#next"}, p.take("confirm", token)
}

func (p *prover) IssueCode(_ context.Context, token string) (string, time.Time, error) {
	return "7K3M9QXZ", time.Now().Add(15 * time.Minute), p.take("issue", token)
}

func (p *prover) NotMe(_ context.Context, token string) error { return p.take("not me", token) }

func (p *prover) Allow(_ context.Context, _ string, limit int, _ time.Duration) (bool, time.Duration, error) {
	p.hits++
	return p.hits <= limit, time.Minute, nil
}

func serve(t testing.TB, p *prover, change ...func(*proof.Config)) *httptest.Server {
	cfg := proof.Config{Prover: p, WhatsApp: "+14155238886"}
	for _, c := range change {
		c(&cfg)
	}
	h, err := proof.New(cfg)
	require.NoError(t, err)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

func send(t testing.TB, method, url, token string) (status int, h http.Header, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader("token="+token))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, resp.Header, string(b)
}

var paths = []string{proof.VerifyPath, proof.LinkPath, proof.NotMePath}

func TestOpeningALinkDoesNothing(t *testing.T) {
	p := &prover{}
	s := serve(t, p)
	for _, path := range paths {
		for _, url := range []string{path, path + "?token=good-token"} {
			for _, method := range []string{"GET", "HEAD"} {
				status, h, body := send(t, method, s.URL+url, "good-token")
				require.Equal(t, http.StatusOK, status)
				require.Equal(t, "no-referrer", h.Get("Referrer-Policy"))
				require.Equal(t, "no-store", h.Get("Cache-Control"))
				require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
				require.NotContains(t, body, "good-token")
				if method == "GET" {
					require.Contains(t, body, `action="`+path+`"`)
				}
			}
		}
		status, h, _ := send(t, "PUT", s.URL+path, "good-token")
		require.Equal(t, http.StatusMethodNotAllowed, status)
		require.Contains(t, h.Get("Allow"), "POST")
	}
	require.Empty(t, p.asked)
}

func TestThePolicyAllowsWhatThePageHoldsAndNothingElse(t *testing.T) {
	s := serve(t, &prover{})
	_, h, body := send(t, "GET", s.URL+proof.VerifyPath, "")
	policy := h.Get("Content-Security-Policy")
	require.True(t, strings.HasPrefix(policy, "default-src 'none'; "))
	require.Contains(t, policy, "frame-ancestors 'none'")
	require.NotContains(t, policy, "unsafe")
	for _, tag := range []string{"style", "script"} {
		found := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllStringSubmatch(body, -1)
		require.Len(t, found, 1)
		sum := sha256.Sum256([]byte(found[0][1]))
		require.Contains(t, policy, tag+"-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	require.NotRegexp(t, ` (style|on[a-z]+)="`, body)
	require.NotContains(t, body, "src=")
}

func TestAButtonDoesWhatItSays(t *testing.T) {
	p := &prover{}
	s := serve(t, p)
	status, _, body := send(t, "POST", s.URL+proof.VerifyPath, "good-token")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "address is confirmed")
	require.Contains(t, body, `href="https://support.example/link#next"`)

	status, _, body = send(t, "POST", s.URL+proof.LinkPath, "good-token")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `href="https://wa.me/14155238886?text=LINK-7K3M9QXZ"`)
	require.Contains(t, body, ">LINK-7K3M9QXZ<")
	require.Contains(t, body, "15 minutes")

	status, _, body = send(t, "POST", s.URL+proof.NotMePath, url.QueryEscape("https://support.example/not-me#good-token"))
	require.Equal(t, http.StatusOK, status, "a pasted link is a token too")
	require.Contains(t, body, "unlinked")
	require.Equal(t, []string{"confirm good-token", "issue good-token", "not me good-token"}, p.asked)

	s = serve(t, p, func(c *proof.Config) { c.WhatsApp = "" })
	_, _, body = send(t, "POST", s.URL+proof.VerifyPath, "good-token")
	require.NotContains(t, body, "WhatsApp", "what cannot be linked is not offered")
	status, _, _ = send(t, "POST", s.URL+proof.LinkPath, "good-token")
	require.Equal(t, http.StatusNotFound, status)
}

func TestEveryTokenThatLeadsNowhereGetsTheSamePage(t *testing.T) {
	p := &prover{}
	s := serve(t, p)
	for _, path := range paths {
		seen := map[string]bool{}
		for _, token := range []string{"wrong-token", "", "short", strings.Repeat("a", 513), "with+a+blank", "%3Cscript%3E", strings.Repeat("a", 5000)} {
			status, _, body := send(t, "POST", s.URL+path, token)
			require.Equal(t, http.StatusNotFound, status, "%s %.20s", path, token)
			seen[body] = true
		}
		for _, err := range []error{support.ErrStale, support.ErrConflict, support.ErrTooLate} {
			p.err = fmt.Errorf("take: %w", err)
			status, _, body := send(t, "POST", s.URL+path, "good-token")
			require.Equal(t, http.StatusGone, status, path)
			seen[body] = true
		}
		require.Len(t, seen, 1, path)
		for err, want := range map[error]int{support.ErrUnavailable: 503, support.ErrRetry: 503, support.ErrTooMany: 429, errors.New("secret"): 500} {
			p.err = err
			status, h, body := send(t, "POST", s.URL+path, "good-token")
			require.Equal(t, want, status)
			require.Equal(t, want != 500, h.Get("Retry-After") != "")
			require.NotContains(t, body, "secret")
		}
		p.err = nil
	}
	status, _, _ := send(t, "GET", s.URL+"/verify/more", "")
	require.Equal(t, http.StatusNotFound, status)
}

func TestButtonsAreLimited(t *testing.T) {
	p := &prover{}
	s := serve(t, p, func(c *proof.Config) { c.Rates, c.RateLimits = p, true })
	for i := range 21 {
		status, h, _ := send(t, "POST", s.URL+proof.VerifyPath, "wrong-token")
		require.Equal(t, i == 20, status == http.StatusTooManyRequests)
		require.Equal(t, i == 20, h.Get("Retry-After") != "")
	}
	require.Len(t, p.asked, 20)
	status, _, _ := send(t, "GET", s.URL+proof.VerifyPath, "")
	require.Equal(t, http.StatusOK, status)
}

func TestPagesNeedAProver(t *testing.T) {
	for _, cfg := range []proof.Config{{}, {Prover: &prover{}, RateLimits: true}, {Prover: &prover{}, WhatsApp: "whatsapp:+14155238886"}} {
		_, err := proof.New(cfg)
		require.Error(t, err)
	}
}
