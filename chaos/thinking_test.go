package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
	"fte/chaos/workload"
)

// marker is what makes a question its customer's own in the model server's log.
var marker = regexp.MustCompile(`marker [a-z]+\d+x`)

// slowly has the model answer the questions that hold the words only after a
// while: three calls a turn (the customer's history, a search, the answer).
func slowly(t *testing.T, s *suite, words, delay string) {
	require.NoError(t, s.Script(t.Context(), map[string]any{"match": words, "delay": delay, "tool": map[string]any{"name": "get_customer_history", "arguments": map[string]any{}}}))
}

// modelCalls reads the model server's log: which step of which turn each request
// was. A turn alternates model and tool steps, so the results that a request
// carries tell its step. customers are the markers' owners with their one turn.
func modelCalls(t *testing.T, s *suite, turns map[string]checker.Turn) []checker.ModelCall {
	var log []struct {
		At     time.Time `json:"at"`
		Member string    `json:"member"`
		Body   struct {
			Input []struct {
				Type    string          `json:"type"`
				Content json.RawMessage `json:"content"`
			} `json:"input"`
		} `json:"body"`
	}
	require.NoError(t, s.ModelRequests(t.Context(), &log))
	var calls []checker.ModelCall
	for _, r := range log {
		results, whose := 0, ""
		for _, in := range r.Body.Input {
			if in.Type == "function_call_output" {
				results++
			}
			if m := marker.Find(in.Content); m != nil {
				whose = string(m)
			}
		}
		if turn, ours := turns[whose]; ours {
			calls = append(calls, checker.ModelCall{CustomerID: turn.CustomerID, Turn: turn.Turn, Step: 2*results + 1, By: r.Member, At: r.At})
		}
	}
	return calls
}

// lastTurns finds the turn that answered each marker's message.
func lastTurns(d *checker.Dump, ids map[string]string) map[string]checker.Turn {
	customers := map[string]string{}
	for _, m := range d.Messages {
		customers[m.ExternalID] = m.CustomerID
	}
	turns := map[string]checker.Turn{}
	for mark, id := range ids {
		for _, turn := range d.Turns {
			if turn.CustomerID == customers[id] && turn.Turn > turns[mark].Turn {
				turns[mark] = turn
			}
		}
	}
	return turns
}

// A worker dies while the model is thinking for it: the steps that were journaled
// are not called again, and there is one answer.
func TestModelCallInFlightWhenItsWorkerDies(t *testing.T) {
	s := system(t, "sim")
	s.healthy(t)
	slowly(t, s, "marker flight", "2s")
	w := s.customers(t, workload.Config{Customers: 30, Messages: 30})
	ids := map[string]string{} // one message of each customer, so that each has one turn
	var mu sync.Mutex          // guards ids
	var all sync.WaitGroup
	for customer := range 30 {
		all.Go(func() {
			pause(t.Context(), time.Duration(customer)*200*time.Millisecond)
			mark := fmt.Sprintf("marker flight%dx", customer)
			op := w.Send(t.Context(), customer, "How do I export my boards? "+mark)
			mu.Lock()
			defer mu.Unlock()
			ids[mark] = op.ExternalID
		})
	}
	for _, name := range []string{"worker-1", "worker-2"} {
		pause(t.Context(), 5*time.Second)
		_, err := s.Kill(t.Context(), name)
		require.NoError(t, err)
	}
	all.Wait()
	s.healthy(t)
	require.NoError(t, s.Drain(within(t, time.Minute), w.Accepted()))
	d := s.dump(t)
	turns := lastTurns(d, ids)
	require.Len(t, turns, 30)
	calls := modelCalls(t, s, turns)
	s.calls = append(s.calls, calls...)
	s.verdict(t, time.Minute, checker.Options{MinOK: 0.99}, w)

	lost, resumed := 0, 0
	epochs := map[string]map[int64]bool{}
	for _, step := range d.Steps {
		k := fmt.Sprint(step.CustomerID, step.Turn)
		if epochs[k] == nil {
			epochs[k] = map[int64]bool{}
		}
		epochs[k][step.Epoch] = true
	}
	for _, turn := range turns {
		if turn.Losses > 0 {
			lost++
			if len(epochs[fmt.Sprint(turn.CustomerID, turn.Turn)]) > 1 {
				resumed++
			}
		}
	}
	t.Logf("%d model calls for %d turns; %d turns lost their owner, %d of them went on from their journal", len(calls), len(turns), lost, resumed)
	require.Positive(t, lost, "no turn lost its owner")
	require.Positive(t, resumed, "no turn went on from its journal")
}

// A turn of 20 seconds, three slow model calls, loses its owner five times: it
// ends with the model's answer, neither quarantined nor by a fallback.
func TestASlowTurnSurvivesFiveKills(t *testing.T) {
	s := system(t, "sim")
	s.healthy(t)
	slowly(t, s, "marker slow", "6500ms")
	w := s.customers(t, workload.Config{Customers: 1, Messages: 1})
	ctx := within(t, 3*time.Minute)
	op := w.Send(ctx, 0, "How do I export my boards? marker slow0x")
	require.Equal(t, checker.OK, op.Outcome)
	ids := map[string]string{"marker slow0x": op.ExternalID}

	// Two kills while the first call is in flight, two in the second, one in the third.
	seen := 0
	for i, step := range []int{1, 1, 3, 3, 5} {
		var owner string
		require.Eventually(t, func() bool {
			calls := modelCalls(t, s, lastTurns(s.dump(t), ids))
			if len(calls) > seen && calls[len(calls)-1].Step == step {
				seen, owner = len(calls), calls[len(calls)-1].By
			}
			return owner != ""
		}, 40*time.Second, 100*time.Millisecond, "call %d, of step %d, never came", i+1, step)
		pause(ctx, time.Second)
		workers, err := s.Workers()
		require.NoError(t, err)
		for _, m := range workers {
			if m.SystemID == owner {
				_, err := s.Kill(ctx, m.Name)
				require.NoError(t, err)
			}
		}
	}
	s.healthy(t)
	require.NoError(t, s.Drain(ctx, w.Accepted()))
	d := s.dump(t)
	turns := lastTurns(d, ids)
	s.calls = append(s.calls, modelCalls(t, s, turns)...)
	s.verdict(t, time.Minute, checker.Options{MinOK: 0.99, MinTakeovers: 5}, w)

	turn := turns["marker slow0x"]
	require.Equal(t, "done", turn.State)
	require.Equal(t, "answered", turn.Outcome, turn.Reason)
	require.Equal(t, 5, turn.Losses)
	require.Zero(t, turn.Faults)
	sent, err := s.Sent()
	require.NoError(t, err)
	for _, m := range sent {
		if m.Key == fmt.Sprintf("%s:%d", turn.CustomerID, turn.ReplySeq) {
			t.Logf("answered %v after the claim: %q", m.At.Sub(turn.ClaimedAt).Round(time.Millisecond), m.Text)
			require.True(t, strings.Contains(strings.ToLower(m.Text), "export"), "the model's own answer, not a fallback")
		}
	}
}

// within is a context for what must not take longer.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
