package workload

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
)

// works runs loops until enough happened.
func works(t *testing.T, run func(context.Context) error, enough func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	require.Eventually(t, enough, time.Minute, 10*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
}

func TestPeopleTakeOverAndGiveBack(t *testing.T) {
	t.Parallel()
	v, w := populated(t, nil)
	require.NoError(t, w.Run(t.Context()))
	p, err := NewPersons(w, PersonsConfig{Token: "token", Every: 20 * time.Millisecond, People: []string{"a", "b", "c", "d", "e", "f"}})
	require.NoError(t, err)
	works(t, p.Run, func() bool {
		c := p.Counts()
		return c["release ok"] >= 12 && c["reply ok"] > 2 && c["undo ok"] > 0 && c["resolve ok"] > 0
	})
	require.Zero(t, p.Counts()["takeover 409"], "one customer is one person's")
	for _, taken := range p.Takeovers() {
		require.False(t, taken.Return.Before(taken.Call))
		require.False(t, taken.Released.Before(taken.Return))
		require.Equal(t, []string{taken.CustomerID + ":1"}, taken.OnItsWay)
	}
	for _, c := range v.people {
		require.Empty(t, c.holder)
	}
}

// Answers to take-overs and releases get lost: a take-over promises nothing then,
// and after such a release nobody takes that customer over again.
func TestAnswersToPeopleGetLost(t *testing.T) {
	t.Parallel()
	v, w := populated(t, func(c *Config) { c.Customers = 30; c.Messages = 90 })
	require.NoError(t, w.Run(t.Context()))
	v.lose = func(what string, n int) bool { return (what == "takeover" || what == "release") && n%3 == 1 }
	p, err := NewPersons(w, PersonsConfig{Token: "token", Every: 20 * time.Millisecond, People: []string{"a", "b", "c"}})
	require.NoError(t, err)
	works(t, p.Run, func() bool { return p.Counts()["release ok"] >= 8 && p.Counts()["release unknown"] > 2 })
	promised, open := 0, 0
	for _, taken := range p.Takeovers() {
		require.False(t, taken.Released.IsZero())
		if taken.Return.IsZero() {
			open++
			require.Empty(t, taken.OnItsWay)
		} else {
			promised++
		}
	}
	require.Greater(t, open, 2)
	require.Greater(t, promised, 5)
	strayed := 0
	for id, c := range v.people {
		require.Empty(t, c.holder, "at the end nobody is left with a person")
		if c.strayed > 0 {
			strayed++
			require.Equal(t, c.strayed, c.taken, "%s was taken over after a release that may still come", id)
		}
	}
	require.Greater(t, strayed, 2)
}

// A reader sees whole conversations, also of those who were merged, and moves when
// its process does not answer.
func TestReaders(t *testing.T) {
	t.Parallel()
	v, w := populated(t, nil)
	require.NoError(t, w.Run(t.Context()))
	v.mu.Lock()
	var ids []string
	for id := range v.people {
		ids = append(ids, id)
	}
	loser, survivor := ids[0], ids[1]
	v.people[loser].into = survivor
	long := ids[2]
	for n := len(v.people[long].seen); n <= onePage; n++ {
		v.people[long].seen = append(v.people[long].seen, checker.Seen{Seq: int64(n + 1), Direction: "out"})
	}
	v.lose = func(what string, n int) bool { return what == "messages" && n%10 == 0 }
	v.mu.Unlock()

	r, err := NewReaders(w, ReadersConfig{Token: "token", Every: time.Millisecond})
	require.NoError(t, err)
	works(t, r.Run, func() bool { return len(r.Reads()) > 200 && len(r.Acks()) > 50 })
	of := map[string]int{}
	for _, read := range r.Reads() {
		of[read.CustomerID]++
		require.LessOrEqual(t, read.Call, read.Return)
		require.Equal(t, v.people[read.CustomerID].seen, read.Items, "by seq, and all of it")
	}
	require.Positive(t, of[loser], "a page of the survivor is a reading of the loser too")
	require.Zero(t, of[long], "two pages are no one read")
	for _, ack := range r.Acks() {
		require.Equal(t, placed{ack.CustomerID, ack.Seq, "answered"}, v.place[ack.ExternalID])
	}
}
