package email_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fte/channel/email"
	"fte/support"
)

type noDrafts struct{}

func (noDrafts) StoreDraft(context.Context, support.Outbound, string) error     { return nil }
func (noDrafts) StoreMessageID(context.Context, support.Outbound, string) error { return nil }

// A mail without a Message-ID cannot be referred to; its answer names its thread
// all the same.
func TestAnAnswerToAMailWithoutMessageIDNamesItsThread(t *testing.T) {
	thread := ""
	client := api(t, func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Message struct {
				ThreadID string `json:"threadId"`
			} `json:"message"`
		}
		if strings.HasSuffix(r.URL.Path, "/drafts") && json.NewDecoder(r.Body).Decode(&in) == nil {
			thread = in.Message.ThreadID
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"id": "sent", "payload": map[string]any{"headers": []map[string]string{{"name": "Message-ID", "value": "<ours@mail.gmail.com>"}}}})
	})
	s, err := email.NewSender(email.SenderConfig{Client: client, Drafts: noDrafts{}})
	require.NoError(t, err)
	id, err := s.Send(t.Context(), support.Outbound{Customer: "0190b7a0-0000-7000-8000-000000000001", Seq: 2, Kind: support.KindAnswer, To: "ada@example.org", Thread: "t1", Subject: "Re: Boards", Text: "So."})
	require.NoError(t, err)
	require.Equal(t, "sent", id)
	require.Equal(t, "t1", thread)
}
