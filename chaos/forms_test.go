package chaos

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/harness"
	"fte/chaos/workload"
)

// submit sends a form to an edge, outside every workload, and returns all that it
// says.
func (s *suite) submit(t *testing.T, api, email, text string) (int, map[string]string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"name": "Customer", "email": email, "subject": "My question", "category": "general", "message": text})
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api+"/support/submit", bytes.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Site-Key", s.First().SiteKey)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	said := map[string]string{}
	require.NoError(t, json.NewDecoder(res.Body).Decode(&said))
	if res.StatusCode == http.StatusOK {
		s.history = append(s.history, checker.Op{Client: said["ticket_id"], Customer: email, Address: email, Channel: "webform", ExternalID: said["ticket_id"], Call: 1, Return: 2,
			Status: res.StatusCode, Outcome: checker.OK})
	}
	return res.StatusCode, said
}

// ticket reads a ticket as its sender sees it.
func (s *suite) ticket(t *testing.T, api string, receipt map[string]string) (got checker.Ticket) {
	t.Helper()
	res := s.follow(t, t.Context(), api, receipt, "", "")
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.NoError(t, json.NewDecoder(res.Body).Decode(&got))
	return got
}

// follow asks for a ticket, or for its events.
func (s *suite) follow(t *testing.T, ctx context.Context, api string, receipt map[string]string, events, last string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, api+"/support/ticket/"+receipt["ticket_id"]+events, nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+receipt["access_token"])
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	return res
}

// event is the next server-sent event of a stream.
func event(in *bufio.Reader) (id string, t checker.Ticket, err error) {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", t, err
		}
		switch name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); name {
		case "id":
			id = value
		case "data":
			return id, t, json.Unmarshal([]byte(value), &t)
		}
	}
}

// The page of a form loses its API process while the agent thinks: it goes on at
// another where it was, and sees the answer once.
func TestAFormsPageSurvivesItsEdge(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes")
	}
	alone()
	s := start(t, harness.Config{Model: "sim", APIs: 2})
	t.Cleanup(s.end)
	s.healthy(t)
	slowly(t, s, "marker page", "2s")
	ctx := within(t, time.Minute)
	apis := s.First().APIs
	status, receipt := s.submit(t, apis[0], workload.MailAddress(t.Name(), 1), "How do I export my boards? marker page0x")
	require.Equal(t, http.StatusOK, status)
	res := s.follow(t, ctx, apis[0], receipt, "/events", "")
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	in := bufio.NewReader(res.Body)
	id, seen, err := event(in)
	require.NoError(t, err)
	require.NotEqual(t, "answered", seen.Status, "too quick: nothing would be shown")
	_, err = s.Kill(ctx, "api-1")
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, in)
	require.Error(t, err, "the stream broke")

	began := time.Now()
	res = s.follow(t, ctx, apis[1], receipt, "/events", id)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	in = bufio.NewReader(res.Body)
	for states := map[string]bool{id: true}; seen.Status != "answered"; {
		id, seen, err = event(in)
		require.NoError(t, err)
		require.False(t, states[id], "a state is told twice")
		states[id] = true
	}
	require.Len(t, seen.Messages, 2)
	t.Logf("answered on the other edge after %v", time.Since(began).Round(10*time.Millisecond))
	require.Equal(t, seen, s.ticket(t, apis[1], receipt), "what was told is what is read")
	s.healthy(t)
}
