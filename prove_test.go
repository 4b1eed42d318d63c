package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/persistence"
	"fte/support"
)

// A link of a mail acts for one customer, on one page, for a time.
func TestPassesAreForOnePageAndATime(t *testing.T) {
	keys, err := persistence.DevelopmentKeys(t.TempDir())
	require.NoError(t, err)
	now := time.Now()
	p := passes{keys, func() time.Time { return now }}
	id := support.CustomerID("0190f000-0000-7000-8000-000000000001")
	ticket := "0190f000-0000-7000-8000-000000000002"
	token := p.make("/link", id, ticket, time.Hour)
	require.Less(t, len(token), 110, "it stands in a mail")
	require.Regexp(t, `^[A-Za-z0-9_.-]+$`, token, "it stands in a URL's fragment")
	whose, thing, err := p.read("/link", token)
	require.NoError(t, err)
	require.Equal(t, id, whose)
	require.Equal(t, ticket, thing)
	for name, forged := range map[string]string{
		"empty": "", "another body": "x" + token, "no signature": token[:strings.LastIndex(token, ".")+1], "another key": strings.Replace(token, ".", ".9", 1), "very long": strings.Repeat("a", 5000),
	} {
		_, _, err := p.read("/link", forged)
		require.ErrorIs(t, err, support.ErrNotFound, name)
	}
	_, _, err = p.read("/not-me", token)
	require.ErrorIs(t, err, support.ErrNotFound, "another page")
	now = now.Add(time.Hour + time.Second)
	_, _, err = p.read("/link", token)
	require.ErrorIs(t, err, support.ErrStale)
}
