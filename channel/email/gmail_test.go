package email_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/channel/email"
	"fte/support"
)

// api is a Gmail that answers as a test says.
func api(t *testing.T, serve http.HandlerFunc, with ...func(*email.ClientConfig)) *email.Client {
	t.Helper()
	web := httptest.NewServer(serve)
	t.Cleanup(web.Close)
	cfg := email.ClientConfig{Mailbox: ourBox, BaseURL: web.URL, Scale: 0.001, UnitsPerMinute: 10_000_000, Client: web.Client()}
	for _, change := range with {
		change(&cfg)
	}
	c, err := email.NewClient(cfg)
	require.NoError(t, err)
	return c
}

func refuse(w http.ResponseWriter, code int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"error":{"code":%d,"message":"secret@example.org","errors":[{"reason":%q,"message":"secret@example.org"}]}}`, code, reason)
}

func TestReadsAreTriedAgainWhereThatMayHelp(t *testing.T) {
	for name, c := range map[string]struct {
		code   int
		reason string
		tries  int32
		is     error
	}{
		"408":                    {408, "", 4, support.ErrUnavailable},
		"429":                    {429, "rateLimitExceeded", 4, support.ErrUnavailable},
		"500":                    {500, "backendError", 4, support.ErrUnavailable},
		"502":                    {502, "", 4, support.ErrUnavailable},
		"503":                    {503, "", 4, support.ErrUnavailable},
		"504":                    {504, "", 4, support.ErrUnavailable},
		"403 too fast":           {403, "userRateLimitExceeded", 4, support.ErrUnavailable},
		"403 too fast, project":  {403, "rateLimitExceeded", 4, support.ErrUnavailable},
		"403 daily limit":        {403, "dailyLimitExceeded", 1, support.ErrUnavailable},
		"403 domain policy":      {403, "domainPolicy", 1, support.ErrUnavailable},
		"403 permissions":        {403, "insufficientPermissions", 1, support.ErrUnavailable},
		"404":                    {404, "notFound", 1, support.ErrNotFound},
		"401, nothing to renew":  {401, "authError", 1, support.ErrUnavailable},
		"400 speaks of the mail": {400, "invalidArgument", 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var tries atomic.Int32
			client := api(t, func(w http.ResponseWriter, _ *http.Request) { tries.Add(1); refuse(w, c.code, c.reason) })
			_, err := client.Position(t.Context())
			require.Error(t, err)
			require.NotContains(t, err.Error(), "secret", "what Gmail writes may be a customer's")
			require.Equal(t, c.tries, tries.Load())
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			} else {
				require.NotErrorIs(t, err, support.ErrUnavailable)
			}
		})
	}
	var tries atomic.Int32
	client := api(t, func(w http.ResponseWriter, _ *http.Request) {
		if tries.Add(1) < 4 {
			refuse(w, 503, "")
			return
		}
		fmt.Fprint(w, `{"historyId":"18446744073709551615"}`)
	})
	at, err := client.Position(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(18446744073709551615), at)
}

func TestRetryAfterIsHonoured(t *testing.T) {
	var tries atomic.Int32
	client := api(t, func(w http.ResponseWriter, _ *http.Request) {
		if tries.Add(1) == 1 {
			w.Header().Set("Retry-After", "300")
			refuse(w, 503, "")
			return
		}
		fmt.Fprint(w, `{"historyId":"1"}`)
	})
	began := time.Now()
	_, err := client.Position(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(began), 300*time.Millisecond, "at a thousandth")
}

func TestATokenIsRenewedOnceWhereItIsRefused(t *testing.T) {
	var issued, invalid atomic.Int32
	client := api(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token" && invalid.Load() == 1:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(400)
			fmt.Fprint(w, `{"error":"invalid_grant","error_description":"secret"}`)
		case r.URL.Path == "/token":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"access_token":"t%d","token_type":"Bearer","expires_in":3600}`, issued.Add(1))
		case r.Header.Get("Authorization") != "Bearer t2":
			refuse(w, 401, "authError")
		default:
			fmt.Fprint(w, `{"historyId":"1"}`)
		}
	}, func(c *email.ClientConfig) {
		c.ClientID, c.ClientSecret, c.RefreshToken, c.TokenURL = "id", "secret", "refresh", c.BaseURL+"/token"
	})
	_, err := client.Position(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, issued.Load())
	ok, _ := client.Healthy()
	require.True(t, ok)

	invalid.Store(1)
	client2 := api(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(400)
		fmt.Fprint(w, `{"error":"invalid_grant","error_description":"secret"}`)
	}, func(c *email.ClientConfig) {
		c.ClientID, c.ClientSecret, c.RefreshToken, c.TokenURL = "id", "secret", "refresh", c.BaseURL+"/token"
	})
	_, err = client2.Position(t.Context())
	require.ErrorIs(t, err, support.ErrUnavailable)
	require.NotContains(t, err.Error(), "secret")
	ok, why := client2.Healthy()
	require.False(t, ok)
	require.Contains(t, why, "invalid_grant")
}

func TestAnAnswerWithoutEndIsCutOff(t *testing.T) {
	var tries atomic.Int32
	client := api(t, func(w http.ResponseWriter, _ *http.Request) {
		tries.Add(1)
		fmt.Fprint(w, `{"id":"`)
		chunk := strings.Repeat("x", 1<<20)
		for range 60 {
			if _, err := fmt.Fprint(w, chunk); err != nil {
				return
			}
		}
		fmt.Fprint(w, `"}`)
	})
	_, err := client.Source(t.Context(), "m1")
	require.ErrorIs(t, err, support.ErrTooLarge)
	require.EqualValues(t, 1, tries.Load())
}

// part is a part as Gmail's API tells it.
type part map[string]any

func body(text string) part {
	return part{"data": base64.URLEncoding.EncodeToString([]byte(text)), "size": len(text)}
}

func source(t *testing.T, m map[string]any, attachments map[string]string) email.Source {
	t.Helper()
	client := api(t, func(w http.ResponseWriter, r *http.Request) {
		if _, id, ok := strings.Cut(r.URL.Path, "/attachments/"); ok {
			_ = json.NewEncoder(w).Encode(body(attachments[id]))
			return
		}
		_ = json.NewEncoder(w).Encode(m)
	})
	began := time.Now()
	s, err := client.Source(t.Context(), "m1")
	require.NoError(t, err)
	require.Less(t, time.Since(began), 10*time.Second, "on a busy machine")
	return s
}

func TestAMailsTreeIsRead(t *testing.T) {
	s := source(t, map[string]any{"id": "m1", "threadId": "t1", "labelIds": []string{"INBOX"}, "snippet": "Hi", "sizeEstimate": 1000, "internalDate": "1763800000123",
		"payload": part{"mimeType": "multipart/mixed", "headers": []part{{"name": "Subject", "value": "x"}}, "parts": []part{
			{"mimeType": "Text/Plain", "body": body("Grüße?>~")},
			{"mimeType": "text/html", "body": part{"attachmentId": "big", "size": 900}},
			{"mimeType": "application/pdf", "filename": "a.pdf", "body": part{"attachmentId": "pdf", "size": 5000}},
			{"mimeType": "text/plain", "filename": "notes.txt", "body": part{"attachmentId": "txt", "size": 5}},
			{"mimeType": "text/plain", "body": part{"attachmentId": "huge", "size": 2 << 20}},
		}}}, map[string]string{"big": "<p>large</p>"})
	require.Equal(t, "m1", s.ID)
	require.Equal(t, "t1", s.ThreadID)
	require.Equal(t, int64(1763800000123), s.Received.UnixMilli())
	require.Empty(t, s.Beyond)
	require.Equal(t, "multipart/mixed", s.Root.Type)
	require.Equal(t, []email.Field{{Name: "Subject", Value: "x"}}, s.Root.Header)
	p := s.Root.Parts
	require.Equal(t, "text/plain", p[0].Type)
	require.Equal(t, "Grüße?>~", string(p[0].Body))
	require.Equal(t, "<p>large</p>", string(p[1].Body), "a text that lies elsewhere is fetched")
	require.Equal(t, "pdf", p[2].AttachmentID, "a file is not")
	require.Equal(t, "txt", p[3].AttachmentID)
	require.Equal(t, "huge", p[4].AttachmentID)
}

// A mail counts as deleted only when it is itself not there: then it is left out.
func TestAMailWithoutOneOfItsPartsIsNotDeleted(t *testing.T) {
	client := api(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/attachments/") {
			refuse(w, 404, "notFound")
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"id": "m1", "payload": part{"mimeType": "text/plain", "body": part{"attachmentId": "a", "size": 900}}})
	})
	_, err := client.Source(t.Context(), "m1")
	require.Error(t, err)
	require.NotErrorIs(t, err, support.ErrNotFound)
	require.NotErrorIs(t, err, support.ErrUnavailable, "its gist is taken then")
	_, err = client.Outline(t.Context(), "m1")
	require.NoError(t, err)
}

// The mails of GM-09 that take a parser down.
func TestATreeBeyondTheLimitsIsCut(t *testing.T) {
	nested := part{"mimeType": "text/plain", "body": body("deep")}
	for range 60 { // Gmail's own parser goes no deeper than JSON is read
		nested = part{"mimeType": "multipart/mixed", "parts": []part{nested}}
	}
	flat := part{"mimeType": "multipart/mixed"}
	var parts []part
	for range 10_000 {
		parts = append(parts, part{"mimeType": "text/plain", "body": body("x")})
	}
	flat["parts"] = parts
	for name, payload := range map[string]part{
		"depth":   nested,
		"parts":   flat,
		"headers": {"mimeType": "text/plain", "headers": []part{{"name": "A", "value": strings.Repeat("x", 200<<10)}, {"name": "B", "value": strings.Repeat("x", 200<<10)}}},
	} {
		s := source(t, map[string]any{"id": "m1", "payload": payload}, nil)
		require.Equal(t, name, s.Beyond)
	}
	s := source(t, map[string]any{"id": "m1", "sizeEstimate": 26 << 20, "payload": part{"mimeType": "text/plain", "body": body("x")}}, nil)
	require.Equal(t, "size", s.Beyond)
}

func TestTheHistoryIsPagedAndNeverBehindItsFirstPage(t *testing.T) {
	client := api(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("startHistoryId") != "100" || q.Get("historyTypes") != "messageAdded" || q.Get("labelId") != "INBOX" || q.Get("maxResults") != "500" {
			refuse(w, 400, "invalidArgument")
			return
		}
		switch q.Get("pageToken") {
		case "":
			fmt.Fprint(w, `{"historyId":"200","nextPageToken":"p2","history":[{"id":"150","messagesAdded":[{"message":{"id":"a"}},{"message":{"id":"b"}}]}]}`)
		case "p2":
			fmt.Fprint(w, `{"historyId":"230","history":[{"id":"160","messagesAdded":[{"message":{"id":"b"}},{"message":{"id":"c"}}]},{"id":"170"}]}`)
		}
	})
	ids, next, err := client.Added(t.Context(), 100)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c"}, ids)
	require.EqualValues(t, 200, next, "what came while the second page was read may be on none")
}

func TestClientConfigIsChecked(t *testing.T) {
	for name, c := range map[string]email.ClientConfig{
		"no mailbox": {}, "no URL": {Mailbox: ourBox, BaseURL: "nowhere"}, "token without client": {Mailbox: ourBox, RefreshToken: "x"}, "scale": {Mailbox: ourBox, Scale: -1},
	} {
		_, err := email.NewClient(c)
		require.Error(t, err, name)
	}
	client, err := email.NewClient(email.ClientConfig{Mailbox: "Support@FTE.test"})
	require.NoError(t, err)
	require.Equal(t, ourBox, client.Mailbox())
	_, err = email.NewSender(email.SenderConfig{Client: client})
	require.Error(t, err)
	_, err = email.NewMailbox(email.MailboxConfig{Client: client})
	require.Error(t, err)
	ends, err := client.Watch(context.Background())
	require.NoError(t, err)
	require.True(t, ends.IsZero(), "without a topic nobody is notified")
}
