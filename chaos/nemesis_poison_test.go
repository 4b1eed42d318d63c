package chaos

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fte/chaos/workload"
	"fte/support"
)

// An edge that another strike took away for two tries answers the third.
func TestAMegabyteIsTriedUntilAnEdgeAnswers(t *testing.T) {
	var asked atomic.Int32
	sim := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			panic(http.ErrAbortHandler) // the connection breaks without an answer
		}
		fmt.Fprint(w, `{"webhook_status":413}`)
	}))
	defer sim.Close()
	load, err := workload.New(workload.Config{Sim: sim.URL, Run: "r", Insist: time.Minute})
	require.NoError(t, err)
	m := workload.Message{Customer: 1001, Channel: support.WhatsApp, Text: asks}
	status, tries := answered(t.Context(), load, m)
	require.Equal(t, 413, status)
	require.Equal(t, 3, tries)
	ids := map[string]bool{}
	for _, op := range load.History() {
		ids[op.Message] = true
		require.False(t, op.Redelivery)
	}
	require.Len(t, ids, 3, "each try is a message of its own")

	sim.Close()
	within, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	status, tries = answered(within, load, m)
	require.Zero(t, status)
	require.Positive(t, tries)
}
