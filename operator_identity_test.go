package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	adaID = "0190b7a0-0000-7000-8000-000000000001"
	bobID = "0190b7a0-0000-7000-8000-000000000002"
)

// identityAPI answers what link and merge ask, and records it.
func identityAPI(t *testing.T, busy int) *[]string {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		asked = append(asked, r.Method+" "+r.URL.RequestURI()+" "+string(body))
		switch {
		case r.Method == http.MethodGet && r.URL.Query().Get("email") == "ada@example.org":
			fmt.Fprintf(w, `{"items":[{"id":%q}]}`, adaID)
		case r.Method == http.MethodGet:
			fmt.Fprint(w, `{"items":[]}`)
		case busy > 0:
			busy--
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"detail":"not now, try again"}`)
		case r.URL.Path == "/api/v1/customers/"+bobID+"/link":
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"detail":"conflict: another customer has it: merge instead"}`)
		default:
			fmt.Fprintf(w, `{"id":%q,"identifiers":[{"kind":"phone","value":"+14•••00","level":3}]}`, adaID)
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("FTE_API", server.URL)
	t.Setenv("FTE_TOKEN", "secret")
	return &asked
}

func TestLinkByCommand(t *testing.T) {
	asked := identityAPI(t, 0)
	code, out, errs := fte(t, "link", "ada@example.org", "phone", "+14155550100", "-level", "3", "-reason", "called us")
	require.Zero(t, code, errs)
	require.Contains(t, out, adaID)
	require.Contains(t, out, "phone +14•••00, level 3")
	require.Equal(t, []string{"GET /api/v1/customers?email=ada%40example.org ",
		`POST /api/v1/customers/` + adaID + `/link {"kind":"phone","level":3,"reason":"called us","value":"+14155550100"}`}, *asked)

	code, _, errs = fte(t, "link", bobID, "phone", "+14155550100", "-level", "3", "-reason", "called us")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "merge instead")
	_, _, errs = fte(t, "link", bobID, "email", "bob@example.org", "-level", "3", "-reason", "called us")
	require.Contains(t, errs, "link the email to")
	code, _, errs = fte(t, "link", "eve@example.org", "phone", "+14155550100", "-level", "3", "-reason", "r")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "nobody has this address")
	for _, args := range [][]string{{"link"}, {"link", adaID, "phone"}, {"link", adaID, "phone", "+1", "-reason", "r"}, {"link", adaID, "phone", "+1", "-level", "5", "-reason", "r"},
		{"link", adaID, "phone", "+1", "-level", "3"}, {"link", adaID, "phone", "+1", "-level", "3", "-reason", " "}, {"merge", adaID}, {"merge", "-into", adaID, "-reason", "r"},
		{"merge", adaID, "-into", bobID}, {"mail"}, {"mail", "parse"}, {"mail", "burn", "x"}, {"doctor", "now"}} {
		code, _, errs := fte(t, args...)
		require.Equal(t, 2, code, "%v: %s", args, errs)
	}
}

// A merge waits for the loser's work to end.
func TestMergeByCommand(t *testing.T) {
	asked := identityAPI(t, 2)
	code, out, errs := fte(t, "merge", bobID, "-into", "ada@example.org", "-reason", "same person")
	require.Zero(t, code, errs)
	require.Contains(t, out, adaID)
	require.Len(t, *asked, 4)
	require.Equal(t, `POST /api/v1/customers/`+bobID+`/merge {"into":"`+adaID+`","reason":"same person"}`, (*asked)[3])
}

func TestMailIsParsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.eml")
	require.NoError(t, os.WriteFile(file, []byte("From: Ada <ada@example.org>\r\nTo: support@fte.test\r\nSubject: Hello\r\nMessage-ID: <1@example.org>\r\n\r\nHow do I export?\r\n"), 0o600))
	code, out, errs := fte(t, "mail", "parse", file)
	require.Zero(t, code, errs)
	var got struct {
		From    string `json:"from"`
		Visible string `json:"visible_text"`
		Action  string `json:"action"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &got))
	require.Equal(t, "ada@example.org", got.From)
	require.Contains(t, got.Visible, "How do I export?")
	require.Equal(t, "answer", got.Action)

	code, out, errs = fte(t, "mail", "parse", filepath.Join(t.TempDir(), "none.eml"))
	require.Equal(t, 1, code)
	var wrong struct{ Error string }
	require.NoError(t, json.Unmarshal([]byte(out), &wrong), out)
	require.NotEmpty(t, wrong.Error)
	require.NotEmpty(t, errs)
}
