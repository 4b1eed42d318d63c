package chaos

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/checker"
)

// asked is a request to the model about a message, after so many tool results.
func asked(n int, at time.Time, by, message string, results int) requested {
	input := []map[string]any{{"type": "message", "content": "Earlier: linnet-bbbbbbbb"}, {"type": "message", "content": "<untrusted id=\"1\" what=\"message\">\n" + message + "\n</untrusted id=\"1\">"}}
	for range results {
		input = append(input, map[string]any{"type": "function_call_output", "output": "{}"})
	}
	body, _ := json.Marshal(map[string]any{"input": input})
	return requested{N: n, At: at, Member: by, Body: body}
}

func TestModelCallsAreTiedToTheirTurns(t *testing.T) {
	zero := time.Now()
	at := func(s int) time.Time { return zero.Add(time.Duration(s) * time.Second) }
	d := &checker.Dump{
		Messages: []checker.Message{{CustomerID: "c", Seq: 1, Direction: "in", Channel: "email", ExternalID: "m/1"}, {CustomerID: "c", Seq: 2, Direction: "in", Channel: "email", ExternalID: "m/2"}},
		// Turn 1 was superseded by turn 2, which another worker claimed.
		Turns:     []checker.Turn{{CustomerID: "c", Turn: 1, InputsOf: "c", Inputs: []int64{1}, ClaimedAt: at(0), Epoch: 1, UpdEpoch: 1}, {CustomerID: "c", Turn: 2, Inputs: []int64{1, 2}, ClaimedAt: at(10), Epoch: 2, UpdEpoch: 2}},
		Ownership: []checker.Ownership{{CustomerID: "c", Epoch: 1, Owner: "a"}, {CustomerID: "c", Epoch: 2, Owner: "b"}},
	}
	history := []checker.Op{{Channel: "email", ExternalID: "m/1", Canary: "kestrel-cccccccc"}, {Channel: "email", ExternalID: "m/2", Canary: "linnet-bbbbbbbb"}}
	var l modelLog
	for _, r := range []requested{
		asked(1, at(1), "a", "hello kestrel-cccccccc", 0),
		asked(2, at(11), "b", "hello kestrel-cccccccc and linnet-bbbbbbbb", 1),
		asked(3, at(12), "a", "hello kestrel-cccccccc", 1), // it slept, and asks for a turn that is not any more
		asked(4, at(13), "b", "hello stranger-dddddddd", 0),
	} {
		l.calls = append(l.calls, callOf(r))
	}
	calls := l.resolve(d, history)
	require.Len(t, calls, 3)
	require.Equal(t, checker.ModelCall{CustomerID: "c", Turn: 1, Step: 1, By: "a", At: at(1), Canaries: []string{"linnet-bbbbbbbb", "kestrel-cccccccc"}}, calls[0])
	require.EqualValues(t, 2, calls[1].Turn)
	require.Equal(t, 3, calls[1].Step)
	require.EqualValues(t, 1, calls[2].Turn, "its own turn, not the one that took its place")
}
