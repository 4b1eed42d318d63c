package email_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fte/channel/email"
	"fte/channel/email/gmailtest"
	"fte/support"
)

// shelf keeps files.
type shelf struct {
	files map[string][]byte
	puts  int
	err   error
}

func (s *shelf) Put(_ context.Context, id, _, _ string, body []byte) error {
	if s.err != nil {
		return s.err
	}
	s.puts++
	if _, ok := s.files[id]; !ok {
		s.files[id] = body
	}
	return nil
}

func boxWithFiles(t *testing.T, c *email.Client, s *shelf) *email.Mailbox {
	t.Helper()
	d := &desk{}
	m, err := email.NewMailbox(email.MailboxConfig{Client: c, Read: func(s email.Source) email.Mail { return email.Read(s, email.ReadConfig{Own: []string{ourBox}}) },
		Receipts: d, Sent: d, Suppressions: d, Replies: d, Blobs: s, Known: func(context.Context, support.Address) (bool, error) { return true, nil }})
	require.NoError(t, err)
	return m
}

// The files of a mail are stored once however often it is taken: ten, and none
// that is over 10 MiB.
func TestFilesOfAMailAreStored(t *testing.T) {
	g, err := gmailtest.New(gmailtest.Config{Dir: t.TempDir(), Mailbox: ourBox, TimeScale: 0.01, UnitsPerMinute: -1})
	require.NoError(t, err)
	web := httptest.NewServer(g)
	t.Cleanup(func() { web.Close(); require.NoError(t, g.Close()) })
	client, err := email.NewClient(email.ClientConfig{Mailbox: ourBox, BaseURL: web.URL, Scale: 0.001, UnitsPerMinute: 10_000_000, Client: web.Client()})
	require.NoError(t, err)

	var raw bytes.Buffer
	raw.WriteString("From: Ada <ada@example.org>\r\nTo: " + ourBox + "\r\nSubject: Files\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSee these.\r\n")
	attach := func(name string, body []byte) {
		fmt.Fprintf(&raw, "--b\r\nContent-Type: image/png; name=%q\r\nContent-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\n", name)
		text := base64.StdEncoding.EncodeToString(body)
		for len(text) > 76 {
			raw.WriteString(text[:76] + "\r\n")
			text = text[76:]
		}
		raw.WriteString(text + "\r\n")
	}
	attach("big.png", make([]byte, 10<<20+1))
	for i := range 11 {
		attach(fmt.Sprintf("%d.png", i), []byte(fmt.Sprintf("\x89PNG %d", i)))
	}
	raw.WriteString("--b--\r\n")
	arrived, err := g.Inbound(raw.Bytes(), gmailtest.Arrival{})
	require.NoError(t, err)

	s := &shelf{files: map[string][]byte{}}
	box := boxWithFiles(t, client, s)
	first, err := box.Take(t.Context(), arrived.ID)
	require.NoError(t, err)
	require.Len(t, first.Envelope.Media, 12)
	for i, m := range first.Envelope.Media {
		if i == 0 || i == 11 {
			require.Empty(t, m.Blob, m.Name)
			continue
		}
		require.Equal(t, fmt.Sprintf("%d.png", i-1), m.Name)
		require.Equal(t, fmt.Sprintf("\x89PNG %d", i-1), string(s.files[m.Blob]))
		require.EqualValues(t, len(s.files[m.Blob]), m.Size)
	}
	require.Len(t, s.files, 10)
	again, err := box.Take(t.Context(), arrived.ID)
	require.NoError(t, err)
	require.Equal(t, first.Envelope.Media, again.Envelope.Media)
	require.Len(t, s.files, 10)
	require.Equal(t, 20, s.puts)

	s.err = fmt.Errorf("store: %w", support.ErrUnavailable)
	_, err = box.Take(t.Context(), arrived.ID)
	require.ErrorIs(t, err, support.ErrUnavailable, "it is taken again later")
}

// A file that is not at Gmail is listed, and its mail is taken; while Gmail is
// away it is not.
func TestAFileThatIsNotThere(t *testing.T) {
	code := 404
	client := api(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/attachments/") {
			refuse(w, code, "x")
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"id": "m1", "threadId": "t1", "internalDate": "1763800000123", "payload": map[string]any{"mimeType": "multipart/mixed",
			"headers": []map[string]string{{"name": "From", "value": "ada@example.org"}}, "parts": []map[string]any{
				{"mimeType": "text/plain", "body": map[string]any{"data": "SGk", "size": 2}},
				{"mimeType": "image/png", "filename": "a.png", "body": map[string]any{"attachmentId": "A", "size": 5}}}}})
	})
	s := &shelf{files: map[string][]byte{}}
	box := boxWithFiles(t, client, s)
	for _, code = range []int{404, 400} {
		in, err := box.Take(t.Context(), "m1")
		require.NoError(t, err)
		require.Equal(t, []support.Media{{Name: "a.png", Type: "image/png", Size: 5}}, in.Envelope.Media)
		require.Equal(t, "Hi", in.Text)
	}
	code = 503
	_, err := box.Take(t.Context(), "m1")
	require.ErrorIs(t, err, support.ErrUnavailable)
}
