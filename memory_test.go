package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"fte/persistence"
	"fte/support"
)

// A worker that holds 10,000 active customers, each with 20 stored messages of
// 500 bytes, stays within 300 MB. The customers' pasts are committed directly,
// then every one is woken, so that all of them are activated by the real path.
func TestMemoryOfTenThousandActiveCustomers(t *testing.T) {
	if os.Getenv("FTE_LONG") != "1" {
		t.Skip("takes some minutes: FTE_LONG=1 runs it")
	}
	const customers = 10_000
	bin, dir := filepath.Join(t.TempDir(), "fte"), t.TempDir()
	out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	cmd := exec.Command(bin, "dev", "-dir", dir, "-http", "127.0.0.1:0", "-sim", "127.0.0.1:0", "-workers", "1")
	ready, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}()
	line, err := bufio.NewReader(ready).ReadBytes('\n')
	require.NoError(t, err, "no ready line")
	var j devJSON
	require.NoError(t, json.Unmarshal(line, &j))

	pool, err := persistence.Open(t.Context(), persistence.Config{URL: j.DatabaseURL, MaxConns: 8, Log: zap.NewNop()})
	require.NoError(t, err)
	defer pool.Close()
	keys, err := persistence.DevelopmentKeys(filepath.Join(dir, "keys"))
	require.NoError(t, err)
	directory, store := persistence.NewDirectory(pool, keys, zap.NewNop()), persistence.NewCustomers(pool, keys, zap.NewNop())
	var g errgroup.Group
	g.SetLimit(8)
	for i := range customers {
		g.Go(func() error { return remember(t.Context(), directory, store, i) })
	}
	require.NoError(t, g.Wait())
	_, err = pool.Exec(t.Context(), `INSERT INTO wakes (customer_id, due) SELECT id, now() FROM customers ON CONFLICT (customer_id) DO UPDATE SET due = now()`)
	require.NoError(t, err)

	api := &operator{base: j.HTTP, token: j.OperatorToken, http: http.DefaultClient}
	require.Eventually(t, func() bool {
		var members struct{ Items []apiMember }
		require.NoError(t, api.call(t.Context(), http.MethodGet, "/members", nil, &members))
		for _, m := range members.Items {
			if m.Name == "worker-1" && m.ActiveCustomers != nil {
				return *m.ActiveCustomers >= customers
			}
		}
		return false
	}, 5*time.Minute, time.Second, "not all customers became active")
	held := pss(t, j.Members[0].PID)
	t.Logf("%d active customers of 20 messages: the worker holds %d MB (PSS)", customers, held>>20)
	require.LessOrEqual(t, held, int64(300<<20))
}

// remember makes a customer with 20 messages of 500 bytes.
func remember(ctx context.Context, d *persistence.Directory, s *persistence.Customers, i int) error {
	from := support.Address{Kind: support.KindPhone, Value: fmt.Sprintf("+1415%07d", i)}
	id, level, err := d.CustomerAt(ctx, support.ChannelVerified, from)
	if err != nil {
		return err
	}
	c := support.Commit{Customer: id, Epoch: 1, Owner: "a past", Mode: support.ModeBot, State: []byte("{}"), Ownership: &support.Ownership{Reason: "first"}}
	for seq := range int64(20) {
		c.Messages = append(c.Messages, support.Message{
			Customer: id, Seq: seq + 1, Direction: support.In, Channel: support.WhatsApp, ExternalID: "SM" + strings.ReplaceAll(uuid.NewString(), "-", ""),
			From: from, Level: level, By: support.ByCustomer, Body: strings.Repeat("words. ", 72)[:500], Disposition: support.Ignored, Reason: "past",
			Envelope: support.Envelope{ReplyTo: "whatsapp:" + from.Value, Account: devNumber}, AcceptedAt: time.Now(),
		})
	}
	_, err = s.Commit(ctx, c)
	return err
}

// pss is the proportional memory of a process, in bytes.
func pss(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[0] == "Pss:" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			require.NoError(t, err)
			return kb << 10
		}
	}
	t.Fatal("no Pss line")
	return 0
}
