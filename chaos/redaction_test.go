package chaos

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/workload"
)

// What customers write, and who they are, is in no log of any process, in no
// record of Kafka and on no page of metrics, also when something goes wrong with it
// (channels.md SE-04, SE-01).
func TestNothingPersonalIsInLogsTopicsOrMetrics(t *testing.T) {
	s := system(t, "channels")
	s.healthy(t)
	w := s.customers(t, workload.Config{Channels: three, Customers: 8})
	secrets := []string{"Wombat-77310 lives at Lindenweg 12", "+4915112345678", "4111 1111 1111 1111", "wombat.private@example.net"}
	text := "How do I reset my password? " + strings.Join(secrets, ", ")
	addresses := map[string]bool{}
	write := func(n int, m workload.Message) {
		op := w.Write(t.Context(), m)
		require.Equal(t, checker.OK, op.Outcome, "%d: status %d", n, op.Status)
		s.settled(t, op, time.Minute)
		addresses[strings.TrimPrefix(op.Address, "whatsapp:")] = true
	}
	for n, ch := range three {
		write(n, workload.Message{Customer: n, Channel: ch, Subject: "About " + secrets[0], Text: text})
		write(n, workload.Message{Customer: n + 3, Channel: ch, Subject: "A lawyer", Text: "I shall sue you. " + text})
	}
	// Things that go wrong are logged too: forged and broken calls, a vendor that refuses.
	first := s.First()
	for path, body := range map[string]string{
		"/webhooks/whatsapp": "From=whatsapp%3A%2B4915112345678&Body=Wombat-77310+lives+at+Lindenweg+12",
		"/webhooks/gmail":    `{"message":{"data":"` + secrets[0] + `"}}`,
		"/support/submit":    `{"name":"` + secrets[0] + `","email":"` + secrets[3] + `","wombat":true}`,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, first.APIs[0]+path, strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+secrets[0])
		res, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		res.Body.Close()
		require.GreaterOrEqual(t, res.StatusCode, 400, path)
	}
	for a := range addresses {
		secrets = append(secrets, a)
	}
	require.Greater(t, len(secrets), 6)

	clean := func(where string, content []byte) {
		for _, secret := range secrets {
			for _, form := range []string{secret, strings.ReplaceAll(secret, " ", "+"), strings.ReplaceAll(secret, "@", "%40"), strings.ReplaceAll(secret, "+", "%2B")} {
				require.False(t, bytes.Contains(content, []byte(form)), "%s holds %q", where, form)
			}
		}
	}
	read := 0
	for _, folder := range []string{"log", "kafka"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(s.Dir(), folder), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			if os.IsNotExist(err) { // a segment that was just replaced
				return nil
			}
			read += len(content)
			clean(path, content)
			return err
		}))
	}
	require.Greater(t, read, 10_000, "logs and records were read")
	for _, api := range first.APIs {
		for _, page := range []string{"/metrics", "/health"} {
			res, err := http.Get(api + page)
			require.NoError(t, err)
			content, err := io.ReadAll(res.Body)
			res.Body.Close()
			require.NoError(t, err)
			require.NotEmpty(t, content)
			clean(api+page, content)
		}
	}
	s.verdict(t, time.Minute, checker.Options{MinOK: 1}, w)
}
